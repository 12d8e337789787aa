// Arrays that are read through strides: broadcast, transposed, sliced. Filled by kernels/gpu/strides.py.
#pragma once
#include "common.cuh"

#define MAX_RANK 8

// How the elements of a result, counted in their order, map to those of up to three inputs. Strides count elements.
struct Strides {
  int rank;
  int shape[MAX_RANK];
  index_t a[MAX_RANK], b[MAX_RANK], c[MAX_RANK];
};

struct Offsets {
  index_t a, b, c;
};

template <class Count>
__device__ Offsets offsets_counted(Count i, const Strides& strides) {
  Offsets at = {0, 0, 0};
  for (int axis = strides.rank - 1; axis >= 0; axis--) {
    const Count size = strides.shape[axis], position = i % size;
    i /= size;
    at.a += position * strides.a[axis];
    at.b += position * strides.b[axis];
    at.c += position * strides.c[axis];
  }
  return at;
}

// Divisions of 32 bits where the number allows it: those of 64 cost several times as much.
__device__ Offsets offsets_of(index_t i, const Strides& strides) {
  return i <= 0xFFFFFFFFll ? offsets_counted((unsigned)i, strides) : offsets_counted(i, strides);
}
