// What every kernel starts from: the stored type, the type computed in, loops over all elements, sums over a block.
//
// SCALAR is the type in memory and COMPUTE the one in registers; both are given when the file is compiled
// (kernels/gpu/launch.py). Nothing here adds floats in an order that depends on time: the same inputs give the same bytes.
#pragma once

#ifndef EMULATED
#if defined(SCALAR_IS_HALF)
#include <cuda_fp16.h>
#elif defined(SCALAR_IS_BFLOAT16)
#include <cuda_bf16.h>
#endif
#define DYNAMIC_SHARED(type, name)                          \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  type* name = reinterpret_cast<type*>(name##_bytes)
#endif

typedef long long index_t;

#define KERNEL extern "C" __global__ void

// A grid of any size covers all elements: each thread takes every (threads of the grid)-th one.
#define FOR_EACH(i, count)                                                                       \
  for (index_t i = blockIdx.x * (index_t)blockDim.x + threadIdx.x; i < (count); i += (index_t)gridDim.x * blockDim.x)

template <class T>
__device__ T loaded(const T* address, index_t i) { return address[i]; }
template <class T, class C>
__device__ void stored(T* address, index_t i, C value) { address[i] = (T)value; }

#if defined(SCALAR_IS_HALF)
__device__ float loaded(const __half* address, index_t i) { return __half2float(address[i]); }
__device__ void stored(__half* address, index_t i, float value) { address[i] = __float2half(value); }
#elif defined(SCALAR_IS_BFLOAT16)
__device__ float loaded(const __nv_bfloat16* address, index_t i) { return __bfloat162float(address[i]); }
__device__ void stored(__nv_bfloat16* address, index_t i, float value) { address[i] = __float2bfloat16(value); }
#endif
