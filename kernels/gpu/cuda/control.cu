// Constants and copies.
#include "elementwise.cuh"

UNARY(copy, x)

KERNEL fill(SCALAR* y, COMPUTE value, index_t count) {
  FOR_EACH(i, count) stored(y, i, value);
}
