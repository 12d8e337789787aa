// Arithmetic element by element, with NumPy's broadcasting.
#include "elementwise.cuh"
#include "strided.cuh"

enum Activation { NONE, RELU, RELU6 };

__device__ COMPUTE activated(COMPUTE y, int activation) {
  if (activation == NONE) return y;
  y = y > 0 || y != y ? y : 0;
  return activation == RELU6 && y > 6 ? (COMPUTE)6 : y;
}

// Two kernels for each operator: for arrays of the same shape, and for those that are broadcast.
#define ARITHMETIC(name, expression)                                                                                  \
  KERNEL name(SCALAR* y_, const SCALAR* a_, const SCALAR* b_, int activation, index_t count) {                        \
    FOR_EACH(i, count) {                                                                                              \
      const COMPUTE a = loaded(a_, i), b = loaded(b_, i);                                                             \
      stored(y_, i, activated(expression, activation));                                                               \
    }                                                                                                                 \
  }                                                                                                                   \
  KERNEL name##_broadcast(SCALAR* y_, const SCALAR* a_, const SCALAR* b_, Strides strides, int activation,            \
                          index_t count) {                                                                            \
    FOR_EACH(i, count) {                                                                                              \
      const Offsets at = offsets_of(i, strides);                                                                      \
      const COMPUTE a = loaded(a_, at.a), b = loaded(b_, at.b);                                                       \
      stored(y_, i, activated(expression, activation));                                                               \
    }                                                                                                                 \
  }

ARITHMETIC(add, a + b)
