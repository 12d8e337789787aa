// Loops of one line: y = f(x) and its relatives on arrays of the same shape. The output may be one of the inputs.
#pragma once
#include "common.cuh"

// y = expression of x and of the numbers p and q.
#define UNARY(name, expression)                                                              \
  KERNEL name(SCALAR* y_, const SCALAR* x_, COMPUTE p, COMPUTE q, index_t count) {           \
    FOR_EACH(i, count) {                                                                     \
      const COMPUTE x = loaded(x_, i);                                                       \
      stored(y_, i, (COMPUTE)(expression));                                                  \
    }                                                                                        \
  }

// y = expression of a and b, of the numbers p and q.
#define BINARY(name, expression)                                                                            \
  KERNEL name(SCALAR* y_, const SCALAR* a_, const SCALAR* b_, COMPUTE p, COMPUTE q, index_t count) {        \
    FOR_EACH(i, count) {                                                                                    \
      const COMPUTE a = loaded(a_, i), b = loaded(b_, i);                                                   \
      stored(y_, i, (COMPUTE)(expression));                                                                 \
    }                                                                                                       \
  }
