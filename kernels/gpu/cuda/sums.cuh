// Sums and largest values over some axes of an array, in an order that shapes alone decide: the terms of each result
// are cut into chunks, a block of threads reduces each to a part, and a second kernel reduces the parts.
// Bounded by memory: every number is read once. Filled by kernels/gpu/sums.py.
#pragma once
#include "block.cuh"
#include "strided.cuh"

struct Reduction {
  Strides kept, reduced;  // .a: where results and their terms lie
  index_t results, terms, chunk;
};

#define SUM_LANES 32
#define SUM_ROWS 8

// Neighbours along the last axis belong to different results: threads (SUM_LANES, SUM_ROWS) take SUM_LANES results.
// `value(where, result)` gives a term.
template <class Value, class Combine>
__device__ void reduce_columns(COMPUTE* parts, const Reduction& of, Value value, Combine combine) {
  __shared__ COMPUTE totals[SUM_ROWS][SUM_LANES];
  const index_t result = blockIdx.x * (index_t)SUM_LANES + threadIdx.x, first = blockIdx.y * of.chunk;
  const index_t end = first + of.chunk < of.terms ? first + of.chunk : of.terms;
  COMPUTE total = 0;
  if (result < of.results) {
    const index_t start = offsets_of(result, of.kept).a;
    for (index_t term = first + threadIdx.y; term < end; term += SUM_ROWS)
      total = combine(total, value(start + offsets_of(term, of.reduced).a, result));
  }
  totals[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y == 0 && result < of.results) {
    for (int row = 1; row < SUM_ROWS; row++) total = combine(total, totals[row][threadIdx.x]);
    parts[blockIdx.y * of.results + result] = total;
  }
}

// Neighbours belong to the same result: a block takes a chunk of one.
template <class Value, class Combine>
__device__ void reduce_rows(COMPUTE* parts, const Reduction& of, Value value, Combine combine) {
  __shared__ COMPUTE shared[32];
  const index_t result = blockIdx.x, first = blockIdx.y * of.chunk;
  const index_t end = first + of.chunk < of.terms ? first + of.chunk : of.terms;
  const index_t start = offsets_of(result, of.kept).a;
  COMPUTE total = 0;
  for (index_t term = first + threadIdx.x; term < end; term += blockDim.x)
    total = combine(total, value(start + offsets_of(term, of.reduced).a, result));
  total = over_block(total, shared, combine);
  if (threadIdx.x == 0) parts[blockIdx.y * of.results + result] = total;
}

// The parts of SUM_LANES results; `last` makes the result of their total.
template <class Combine, class Last>
__device__ void reduce_parts(SCALAR* y, const COMPUTE* parts, index_t results, int chunks, Combine combine, Last last) {
  __shared__ COMPUTE totals[SUM_ROWS][SUM_LANES];
  const index_t result = blockIdx.x * (index_t)SUM_LANES + threadIdx.x;
  COMPUTE total = 0;
  if (result < results)
    for (int chunk = threadIdx.y; chunk < chunks; chunk += SUM_ROWS)
      total = combine(total, parts[chunk * results + result]);
  totals[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y == 0 && result < results) {
    for (int row = 1; row < SUM_ROWS; row++) total = combine(total, totals[row][threadIdx.x]);
    stored(y, result, (COMPUTE)last(total));
  }
}
