// Numbers in another type, of one array or of many in one launch; two kernels for each type that they come from. SCALAR
// is the one they become. Bound by memory.
#ifndef EMULATED
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif
#include "elementwise.cuh"

// What a stored number is, in a type of the language.
template <class T>
__device__ T plain(T x) { return x; }
__device__ float plain(__half x) { return __half2float(x); }
__device__ float plain(__nv_bfloat16 x) { return __bfloat162float(x); }

// Types of 16 bits are made from float. A double is rounded to odd on the way, so that rounding twice is rounding once.
template <class T>
__device__ float single(T x) { return (float)x; }
__device__ float single(double x) {
  const float near = (float)x;
  if ((double)near == x || x != x || near - near != 0) return near;
  const unsigned bits = __float_as_uint(near);
  const bool beyond = (near > 0 ? near : -(double)near) > (x > 0 ? x : -x);
  return __uint_as_float((beyond ? bits - 1 : bits) | 1);
}

template <class To>
struct Become {
  template <class From>
  __device__ To operator()(From x) const { return (To)x; }
};
template <>
struct Become<bool> {
  template <class From>
  __device__ bool operator()(From x) const { return x != 0; }
};
template <>
struct Become<__half> {
  template <class From>
  __device__ __half operator()(From x) const { return __float2half(single(x)); }
};
template <>
struct Become<__nv_bfloat16> {
  template <class From>
  __device__ __nv_bfloat16 operator()(From x) const { return __float2bfloat16(single(x)); }
};

// A block goes through one piece of an array, four numbers at a time. `table` has, for each array, the addresses of the
// result and of what is cast; `pieces` three numbers for each piece: its array, its first element, how many there are.
template <class From>
__device__ void cast_piece(const unsigned long long* table, const index_t* pieces) {
  const index_t* piece = pieces + 3 * (index_t)blockIdx.x;
  SCALAR* y = reinterpret_cast<SCALAR*>(table[2 * piece[0]]) + piece[1];
  const From* x = reinterpret_cast<const From*>(table[2 * piece[0] + 1]) + piece[1];
  const int count = (int)piece[2], fours = starts_pack<4>(y) && starts_pack<4>(x) ? count / 4 : 0;
  for (int i = threadIdx.x; i < fours; i += blockDim.x) {
    const Pack<From, 4> from = pack_at<4>(x, i * 4);
    Pack<SCALAR, 4> to;
#pragma unroll
    for (int j = 0; j < 4; j++) to.values[j] = Become<SCALAR>()(plain(from.values[j]));
    put_pack(y, i * 4, to);
  }
  for (int i = 4 * fours + threadIdx.x; i < count; i += blockDim.x) y[i] = Become<SCALAR>()(plain(x[i]));
}

#define CAST(name, type)                                                                        \
  KERNEL cast_from_##name(SCALAR* y, const type* x, index_t count) {                            \
    FOR_EACH(i, count) y[i] = Become<SCALAR>()(plain(x[i]));                                    \
  }                                                                                             \
  KERNEL casts_from_##name(const unsigned long long* table, const index_t* pieces) {            \
    cast_piece<type>(table, pieces);                                                            \
  }

CAST(float32, float)
CAST(float64, double)
CAST(float16, __half)
CAST(bfloat16, __nv_bfloat16)
CAST(int8, signed char)
CAST(uint8, unsigned char)
CAST(int16, short)
CAST(int32, int)
CAST(int64, long long)
CAST(bool, bool)
