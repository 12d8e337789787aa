// Activation functions element by element. NaN stays NaN.
#include "elementwise.cuh"

UNARY(relu, x > 0 || x != x ? x : 0)
UNARY(relu6, x > 0 || x != x ? (x > 6 ? 6 : x) : 0)
