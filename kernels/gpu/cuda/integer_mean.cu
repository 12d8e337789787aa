// Means of stored numbers over axes. Where neighbours belong to different results, a block adds up for 32 of these, its
// rows of threads every so-many-th number; else a warp does for one, or a block where that is long. Sums are exact, so
// their order does not matter. Bound by memory.
#include "block.cuh"
#include "rescaling.cuh"
#include "strided.cuh"

#define LANES 32
#define ROWS 8

// `results` of `elements` numbers each; strides a of x along the kept and along the reduced axes.
struct Mean {
  Strides kept, reduced;
  index_t results, elements;
  int zero, channels;
  Storing storing;
};

__device__ Total sum_of(const SCALAR* x, const Strides& reduced, index_t first, index_t step, index_t elements) {
  Total total = 0;
  for (index_t i = first; i < elements; i += step) total += x[offsets_of(i, reduced).a];
  return total;
}

__device__ void store_mean(SCALAR* y, index_t result, Total total, const int* factors, const Mean& mean) {
  const Factor factor = factor_of(factors, (int)(result % mean.channels));
  y[result] = (SCALAR)stored_number((Total)(total - (Total)mean.elements * mean.zero), factor, mean.storing);
}

KERNEL mean_of_columns(SCALAR* y, const SCALAR* x, const int* factors, Mean mean) {
  __shared__ Total sums[ROWS][LANES];
  const index_t result = (index_t)blockIdx.x * LANES + threadIdx.x;
  Total total = 0;
  if (result < mean.results)
    total = sum_of(x + offsets_of(result, mean.kept).a, mean.reduced, threadIdx.y, ROWS, mean.elements);
  sums[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y || result >= mean.results) return;
  for (int row = 1; row < ROWS; row++) total += sums[row][threadIdx.x];
  store_mean(y, result, total, factors, mean);
}

KERNEL mean_of_short_rows(SCALAR* y, const SCALAR* x, const int* factors, Mean mean) {
  const index_t result = blockIdx.x * (index_t)(blockDim.x / 32) + threadIdx.x / 32;
  if (result >= mean.results) return;  // whole warps
  const SCALAR* first = x + offsets_of(result, mean.kept).a;
  Total total = sum_of(first, mean.reduced, threadIdx.x % 32, 32, mean.elements);
  total = over_warp(total, Sum());
  if (threadIdx.x % 32 == 0) store_mean(y, result, total, factors, mean);
}

KERNEL mean_of_rows(SCALAR* y, const SCALAR* x, const int* factors, Mean mean) {
  __shared__ Total parts[32];
  const index_t result = blockIdx.x;
  const SCALAR* first = x + offsets_of(result, mean.kept).a;
  Total total = sum_of(first, mean.reduced, threadIdx.x, blockDim.x, mean.elements);
  total = over_block(total, parts, Sum());
  if (threadIdx.x == 0) store_mean(y, result, total, factors, mean);
}
