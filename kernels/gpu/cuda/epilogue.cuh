// What happens to a sum before it is stored: y = activation(sum + bias + residual).
#pragma once
#include "activated.cuh"

// Sixteen bytes of memory at once, where they lie on a multiple of that.
#define ALIGNED(address) ((size_t)(address) % 16 == 0)

template <class T, int count>
__device__ void load_row(COMPUTE (&values)[count], const T* address) {
  constexpr int CHUNKS = count * sizeof(T) / 16;
  uint4 chunks[CHUNKS];
#pragma unroll
  for (int i = 0; i < CHUNKS; i++) chunks[i] = reinterpret_cast<const uint4*>(address)[i];
#pragma unroll
  for (int i = 0; i < count; i++) values[i] = loaded(reinterpret_cast<const T*>(chunks), i);
}
template <class T, int count>
__device__ void store_row(T* address, const COMPUTE (&values)[count]) {
  constexpr int CHUNKS = count * sizeof(T) / 16;
  uint4 chunks[CHUNKS];
#pragma unroll
  for (int i = 0; i < count; i++) stored(reinterpret_cast<T*>(chunks), i, values[i]);
#pragma unroll
  for (int i = 0; i < CHUNKS; i++) reinterpret_cast<uint4*>(address)[i] = chunks[i];
}

// Where results go, from the first column of a product on. A residual lies as the result does, and may be its memory.
template <class Result>
struct Epilogue {
  Result* result;
  const SCALAR* bias;
  const SCALAR* residual;
  int activation;

  __device__ void store(index_t row, int column, COMPUTE sum) const {
    if (bias) sum += loaded(bias, column);
    if (residual) sum += loaded(residual, row + column);
    stored(result, row + column, activated(sum, activation));
  }
  // Neighbours of one row, of which only those before `columns` exist.
  template <int count>
  __device__ void store_several(index_t row, int column, int columns, COMPUTE (&sums)[count]) const {
    const bool whole = column + count <= columns && ALIGNED(result + row + column) &&
                       (!residual || ALIGNED(residual + row + column));
    if (!whole) {
#pragma unroll
      for (int i = 0; i < count; i++)
        if (column + i < columns) store(row, column + i, sums[i]);
      return;
    }
    if (bias) {
#pragma unroll
      for (int i = 0; i < count; i++) sums[i] += loaded(bias, column + i);
    }
    if (residual) {
      COMPUTE added[count];
      load_row(added, residual + row + column);
#pragma unroll
      for (int i = 0; i < count; i++) sums[i] += added[i];
    }
#pragma unroll
    for (int i = 0; i < count; i++) sums[i] = activated(sums[i], activation);
    store_row(result + row + column, sums);
  }
};
