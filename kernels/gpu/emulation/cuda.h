// CUDA C on a processor: what kernels use of the language and its library, so that the same .cu files run without a GPU.
//
// Barriers and blocks are those of blocks.cpp. All lanes of a warp take part in what a warp does together: masks are not
// looked at. Functions that stand for one instruction are UNCHECKED: they tell checks.h themselves what they access.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "blocks.h"
#include "checks.h"

#define EMULATED 1
#define __global__
#define __device__ inline
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static const

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

extern const dim3 blockIdx, threadIdx, blockDim, gridDim;  // constant for as long as a thread runs
static constexpr int warpSize = 32;

#define DYNAMIC_SHARED(type, name) type* name = (type*)emulation::dynamic_shared()

static inline void __syncthreads() { emulation::wait(emulation::Barrier::block); }
static inline void __syncwarp(unsigned = 0xFFFFFFFF) { emulation::wait(emulation::Barrier::warp); }
static inline void __threadfence() {}

namespace emulation {

static uint64_t exchanged[2][MAX_THREADS];  // in turn: who comes to the next exchange has read of this one

template <class... Parameters, std::size_t... I>
UNCHECKED static void apply(void (*kernel)(Parameters...), void** values, std::index_sequence<I...>) {
  kernel(*(std::remove_reference_t<Parameters>*)values[I]...);
}

template <class... Parameters>
UNCHECKED static void call(void (*kernel)(Parameters...), void** values) {
  apply(kernel, values, std::index_sequence_for<Parameters...>{});
}

template <class T>
UNCHECKED static T from_lane(T value, int lane, int width) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  const int self = now.thread, base = self / width * width;
  uint64_t* const values = exchanged[now.exchanges % 2];
  std::memcpy(&values[self], &value, sizeof(T));
  wait(Barrier::exchange);
  T result = value;
  const int source = base + lane;
  if (lane >= 0 && lane < width && source < (int)(blockDim.x * blockDim.y * blockDim.z))
    std::memcpy(&result, &values[source], sizeof(T));
  return result;
}

UNCHECKED static inline int lane_of(int width) { return now.thread % width; }

}  // namespace emulation

template <class T>
static T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  return emulation::from_lane(value, lane, width);
}
template <class T>
static T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
  return emulation::from_lane(value, emulation::lane_of(width) ^ mask, width);
}
template <class T>
static T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
  return emulation::from_lane(value, emulation::lane_of(width) + (int)delta, width);
}
template <class T>
static T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
  return emulation::from_lane(value, emulation::lane_of(width) - (int)delta, width);
}

template <class T>
static T __ldg(const T* address) { return *address; }

// One access that nobody comes between, as far as other such accesses are concerned.
template <class T, class Change>
UNCHECKED static T changed(T* address, Change change) {
  const T old = *address;
  *address = change(old);
  return old;
}
template <class T>
static inline T atomicAdd(T* address, T value) {
  checks::atomic(address, sizeof(T));
  return changed(address, [=](T old) { return old + value; });
}
static inline unsigned atomicInc(unsigned* address, unsigned limit) {
  checks::atomic(address, sizeof(unsigned));
  return changed(address, [=](unsigned old) { return old >= limit ? 0 : old + 1; });
}
static inline int atomicOr(int* address, int value) {
  checks::atomic(address, sizeof(int));
  return changed(address, [=](int old) { return old | value; });
}

static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
#define __expf(x) std::exp((float)(x))  // glibc has functions of these names
#define __logf(x) std::log((float)(x))
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
static inline unsigned __float_as_uint(float x) { unsigned u; std::memcpy(&u, &x, 4); return u; }
static inline float __uint_as_float(unsigned u) { float x; std::memcpy(&x, &u, 4); return x; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __hiloint2double(int high, int low) {
  uint64_t bits = (uint64_t)(unsigned)high << 32 | (unsigned)low;
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }

// Products of whole numbers that lie side by side in registers: bytes by bytes, or numbers of 16 bits by half of the bytes.
static inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; i++) sum += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
  return sum;
}
static inline int __dp2a_lo(int a, int b, int sum) {
  for (int i = 0; i < 2; i++) sum += (int16_t)(a >> 16 * i) * (int8_t)(b >> 8 * i);
  return sum;
}
static inline int __dp2a_hi(int a, int b, int sum) { return __dp2a_lo(a, b >> 16, sum); }

static inline int __float_as_int(float x) { int u; std::memcpy(&u, &x, 4); return u; }
static inline float __int_as_float(int u) { float x; std::memcpy(&x, &u, 4); return x; }

// Numbers of 16 bits: stored as such, computed with as float, rounded to nearest even when stored.
struct __half {
  _Float16 bits;
};
static inline float __half2float(__half x) { return (float)x.bits; }
static inline __half __float2half(float x) { return {(_Float16)x}; }

struct __nv_bfloat16 {
  uint16_t bits;
};
static inline float __bfloat162float(__nv_bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
static inline __nv_bfloat16 __float2bfloat16(float x) {
  unsigned u = __float_as_uint(x);
  if (x != x) return {(uint16_t)((u >> 16) | 0x40)};
  return {(uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16)};
}

#include "fragments.h"
