// What happens to a sum before it is stored: y = activation(sum + bias + residual).
#pragma once
#include "activated.cuh"
#include "packs.cuh"

// Sixteen bytes of memory at once, where they lie on a multiple of that.
#define ALIGNED(address) ((size_t)(address) % 16 == 0)

// Of neighbours in memory, those that are read or written at once: at most sixteen bytes.
template <class T, int count>
using Piece = Pack<T, (count * sizeof(T) < 16 ? count : 16 / (int)sizeof(T))>;
template <class T, int count>
__device__ bool starts_row(const T* address) { return (size_t)address % sizeof(Piece<T, count>) == 0; }

template <class T, int count>
__device__ void load_row(COMPUTE (&values)[count], const T* address) {
  constexpr int NUMBERS = sizeof(Piece<T, count>) / sizeof(T);
#pragma unroll
  for (int i = 0; i < count / NUMBERS; i++) {
    const Piece<T, count> piece = reinterpret_cast<const Piece<T, count>*>(address)[i];
#pragma unroll
    for (int j = 0; j < NUMBERS; j++) values[i * NUMBERS + j] = loaded(piece.values, j);
  }
}
template <class T, int count>
__device__ void store_row(T* address, const COMPUTE (&values)[count]) {
  constexpr int NUMBERS = sizeof(Piece<T, count>) / sizeof(T);
#pragma unroll
  for (int i = 0; i < count / NUMBERS; i++) {
    Piece<T, count> piece;
#pragma unroll
    for (int j = 0; j < NUMBERS; j++) stored(piece.values, j, values[i * NUMBERS + j]);
    reinterpret_cast<Piece<T, count>*>(address)[i] = piece;
  }
}

// Where results go, from the first column of a product on. A residual lies as the result does, and may be its memory.
template <class Result>
struct Epilogue {
  static constexpr int NEIGHBOURS = 16 / sizeof(Result);  // of a row, that one thread best stores
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
    const bool whole = column + count <= columns && starts_row<Result, count>(result + row + column) &&
                       (!residual || starts_row<SCALAR, count>(residual + row + column));
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
