// Loops of one line: y = f(x) and its relatives on arrays of the same shape. The output may be one of the inputs.
//
// They are bounded by memory: 16 bytes are loaded at once where addresses allow it, twice before the first are used.
#pragma once
#include "packs.cuh"

// Whether numbers have fractions. 0.5 is 0 as a whole number and 1 as a truth value.
constexpr bool FRACTIONS = (COMPUTE)0.5 != (COMPUTE)0 && (COMPUTE)0.5 != (COMPUTE)1;

// What functions of real numbers take: C's do not choose between float and double for whole numbers.
__device__ float real(float x) { return x; }
template <class T>
__device__ double real(T x) { return (double)x; }

// Numbers that a thread takes at once: of whole numbers of one byte no more than of two.
#define AT_ONCE (sizeof(SCALAR) > 1 ? 16 / (int)sizeof(SCALAR) : 8)

template <class Y, class Function>
__device__ void map_one(Y* y, const SCALAR* x, index_t count, Function function) {
  const index_t packs = starts_pack<AT_ONCE>(y) && starts_pack<AT_ONCE>(x) ? count / AT_ONCE : 0;
  Pack<SCALAR, AT_ONCE> from[2];
  const auto load = [&](int k, index_t i) { from[k] = pack_at<AT_ONCE>(x, i * AT_ONCE); };
  for_each_ahead<2>(packs, load, [&](int k, index_t i) {
    Pack<Y, AT_ONCE> to;
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) stored(to.values, j, function(loaded(from[k].values, j)));
    put_pack(y, i * AT_ONCE, to);
  });
  FOR_EACH(i, count - AT_ONCE * packs) stored(y, AT_ONCE * packs + i, function(loaded(x, AT_ONCE * packs + i)));
}

template <class Y, class Function>
__device__ void map_two(Y* y, const SCALAR* a, const SCALAR* b, index_t count, Function function) {
  const bool aligned = starts_pack<AT_ONCE>(y) && starts_pack<AT_ONCE>(a) && starts_pack<AT_ONCE>(b);
  const index_t packs = aligned ? count / AT_ONCE : 0;
  Pack<SCALAR, AT_ONCE> left[2], right[2];
  const auto load = [&](int k, index_t i) {
    left[k] = pack_at<AT_ONCE>(a, i * AT_ONCE);
    right[k] = pack_at<AT_ONCE>(b, i * AT_ONCE);
  };
  for_each_ahead<2>(packs, load, [&](int k, index_t i) {
    Pack<Y, AT_ONCE> to;
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) stored(to.values, j, function(loaded(left[k].values, j), loaded(right[k].values, j)));
    put_pack(y, i * AT_ONCE, to);
  });
  FOR_EACH(i, count - AT_ONCE * packs) {
    const index_t e = AT_ONCE * packs + i;
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
