// Functions of two arrays with NumPy's broadcasting: each has a kernel for equal shapes and one for strides.
#pragma once
#include "elementwise.cuh"
#include "strided.cuh"

// y, of type STORED in memory and VALUE in registers, = expression of a, b and the number p.
#define BROADCAST(name, STORED, VALUE, expression)                                                                  \
  __device__ VALUE name##_of(COMPUTE a, COMPUTE b, int p) { return (VALUE)(expression); }                           \
  KERNEL name(STORED* y_, const SCALAR* a_, const SCALAR* b_, int p, index_t count) {                               \
    map_two(y_, a_, b_, count, [=](COMPUTE a, COMPUTE b) { return name##_of(a, b, p); });                           \
  }                                                                                                                 \
  KERNEL name##_broadcast(STORED* y_, const SCALAR* a_, const SCALAR* b_, Strides strides, int p, index_t count) {  \
    FOR_EACH(i, count) {                                                                                            \
      const Offsets at = offsets_of(i, strides);                                                                    \
      stored(y_, i, name##_of(loaded(a_, at.a), loaded(b_, at.b), p));                                              \
    }                                                                                                               \
  }
