// Neighbouring numbers that are loaded and stored at once, and loops that load ahead: the two things without which a
// kernel does not get from memory what that can give.
#pragma once
#include "common.cuh"

template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T values[N];
};

template <int N, class T>
__device__ bool starts_pack(const T* address) { return (unsigned long long)address % alignof(Pack<T, N>) == 0; }
template <int N, class T>
__device__ Pack<T, N> pack_at(const T* from, index_t at) { return *reinterpret_cast<const Pack<T, N>*>(from + at); }
template <int N, class T>
__device__ void put_pack(T* to, index_t at, const Pack<T, N>& pack) { *reinterpret_cast<Pack<T, N>*>(to + at) = pack; }

// load(k, i), then use(k, i), k below K, for every (step)-th i: K are loaded before the first is used, since none can be
// loaded behind a store that could be to its place.
template <int K, class Load, class Use>
__device__ void for_ahead(index_t first, index_t end, index_t step, Load load, Use use) {
  for (; first < end; first += K * step) {
#pragma unroll
    for (int k = 0; k < K; k++)
      if (first + k * step < end) load(k, first + k * step);
#pragma unroll
    for (int k = 0; k < K; k++)
      if (first + k * step < end) use(k, first + k * step);
  }
}

// The same for all threads of a grid: see FOR_EACH.
template <int K, class Load, class Use>
__device__ void for_each_ahead(index_t count, Load load, Use use) {
  const index_t threads = (index_t)gridDim.x * blockDim.x;
  for_ahead<K>(blockIdx.x * (index_t)blockDim.x + threadIdx.x, count, threads, load, use);
}
