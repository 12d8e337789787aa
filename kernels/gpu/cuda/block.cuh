// Sums and largest values over the threads of a block. Partners are fixed, so the result does not depend on time.
#pragma once
#include "common.cuh"

#define ALL_LANES 0xFFFFFFFFu

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const { return a + b; }
};
struct Largest {
  template <class T>
  __device__ T operator()(T a, T b) const { return a > b || a != a ? a : b; }
};

template <class Combine, class T>
__device__ T over_warp(T value, Combine combine) {
  for (int distance = 16; distance; distance >>= 1)
    value = combine(value, __shfl_xor_sync(ALL_LANES, value, distance));
  return value;
}

// Every thread of a block of whole warps gets the result; `parts` are 32 numbers of shared memory. Called by all.
template <class Combine, class T>
__device__ T over_block(T value, T* parts, Combine combine) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = over_warp(value, combine);
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  value = parts[0];
  for (int i = 1; i < warps; i++) value = combine(value, parts[i]);
  __syncthreads();
  return value;
}
