// Loops of one line: y = f(x) and its relatives on arrays of the same shape. The output may be one of the inputs.
//
// They are bounded by memory: four numbers are loaded and stored at once where addresses allow it.
#pragma once
#include "common.cuh"

// Whether numbers have fractions. 0.5 is 0 as a whole number and 1 as a truth value.
constexpr bool FRACTIONS = (COMPUTE)0.5 != (COMPUTE)0 && (COMPUTE)0.5 != (COMPUTE)1;

// What functions of real numbers take: C's do not choose between float and double for whole numbers.
__device__ float real(float x) { return x; }
template <class T>
__device__ double real(T x) { return (double)x; }

template <class T>
struct alignas(4 * sizeof(T)) Four {
  T of[4];
};

template <class T>
__device__ bool starts_four(const T* address) { return (unsigned long long)address % sizeof(Four<T>) == 0; }

template <class Y, class Function>
__device__ void map_one(Y* y, const SCALAR* x, index_t count, Function function) {
  const index_t fours = starts_four(y) && starts_four(x) ? count / 4 : 0;
  FOR_EACH(i, fours) {
    const Four<SCALAR> from = reinterpret_cast<const Four<SCALAR>*>(x)[i];
    Four<Y> to;
    for (int j = 0; j < 4; j++) stored(to.of, j, function(loaded(from.of, j)));
    reinterpret_cast<Four<Y>*>(y)[i] = to;
  }
  FOR_EACH(i, count - 4 * fours) stored(y, 4 * fours + i, function(loaded(x, 4 * fours + i)));
}

template <class Y, class Function>
__device__ void map_two(Y* y, const SCALAR* a, const SCALAR* b, index_t count, Function function) {
  const index_t fours = starts_four(y) && starts_four(a) && starts_four(b) ? count / 4 : 0;
  FOR_EACH(i, fours) {
    const Four<SCALAR> left = reinterpret_cast<const Four<SCALAR>*>(a)[i];
    const Four<SCALAR> right = reinterpret_cast<const Four<SCALAR>*>(b)[i];
    Four<Y> to;
    for (int j = 0; j < 4; j++) stored(to.of, j, function(loaded(left.of, j), loaded(right.of, j)));
    reinterpret_cast<Four<Y>*>(y)[i] = to;
  }
  FOR_EACH(i, count - 4 * fours) {
    const index_t e = 4 * fours + i;
    stored(y, e, function(loaded(a, e), loaded(b, e)));
  }
}

// y = expression of x and of the numbers p and q.
#define UNARY(name, expression)                                                              \
  KERNEL name(SCALAR* y_, const SCALAR* x_, COMPUTE p, COMPUTE q, index_t count) {           \
    map_one(y_, x_, count, [=](COMPUTE x) { return (COMPUTE)(expression); });                \
  }

// y = expression of a and b, of the numbers p and q.
#define BINARY(name, expression)                                                                            \
  KERNEL name(SCALAR* y_, const SCALAR* a_, const SCALAR* b_, COMPUTE p, COMPUTE q, index_t count) {        \
    map_two(y_, a_, b_, count, [=](COMPUTE a, COMPUTE b) { return (COMPUTE)(expression); });                \
  }
