// Walks over rows of channels (row, c). The threads of a block are `lanes` neighbours along the channels, each with a
// pack of W of them, times groups of rows: loads of a warp are contiguous, and what belongs to a channel is read once.
#pragma once
#include "common.cuh"

#define CHANNEL_THREADS 256

template <int W>
struct alignas(sizeof(SCALAR) * W) Pack {
  SCALAR values[W];
};

template <int W>
__device__ void load_pack(COMPUTE* to, const SCALAR* from, index_t at) {
  const Pack<W> pack = *reinterpret_cast<const Pack<W>*>(from + at);
#pragma unroll
  for (int i = 0; i < W; i++) to[i] = loaded(pack.values, i);
}

template <int W>
__device__ void store_pack(SCALAR* to, index_t at, const COMPUTE* from) {
  Pack<W> pack;
#pragma unroll
  for (int i = 0; i < W; i++) stored(pack.values, i, from[i]);
  *reinterpret_cast<Pack<W>*>(to + at) = pack;
}

// Where a thread stands: its first channel, its group of rows, and how many groups a block has.
struct Place {
  int c, group, groups;
};

template <int W>
__device__ Place place_of(int lanes) {
  return {(int)(blockIdx.x * lanes + threadIdx.x % lanes) * W, (int)threadIdx.x / lanes, CHANNEL_THREADS / lanes};
}

// The rows of one thread of a walk that writes all rows: every (groups of the grid)-th one.
#define FOR_EACH_ROW(row, place, rows)                                                              \
  for (index_t row = (index_t)blockIdx.y * (place).groups + (place).group; row < (rows);            \
       row += (index_t)gridDim.y * (place).groups)

// The rows of block y of the grid, which sums `1 / gridDim.y` of them.
__device__ index_t first_row(index_t rows) { return rows * blockIdx.y / gridDim.y; }
__device__ index_t end_of_rows(index_t rows) { return rows * (blockIdx.y + 1) / gridDim.y; }

// Add N numbers of each thread to those of the same lane, groups in pairs: group 0 gets the sums. `shared` are
// N · CHANNEL_THREADS numbers. Called by all threads of a block.
template <int N>
__device__ void add_groups(COMPUTE* sums, COMPUTE* shared, int lanes, const Place& place) {
  for (int half = place.groups / 2; half; half /= 2) {
    if (place.group >= half && place.group < 2 * half)
      for (int i = 0; i < N; i++) shared[i * CHANNEL_THREADS + threadIdx.x] = sums[i];
    __syncthreads();
    if (place.group < half)
      for (int i = 0; i < N; i++) sums[i] += shared[i * CHANNEL_THREADS + threadIdx.x + half * lanes];
    __syncthreads();
  }
}
