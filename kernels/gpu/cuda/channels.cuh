// Walks over rows of channels (row, c). The threads of a block are `lanes` neighbours along the channels, each with a
// pack of W of them, times groups of rows: loads of a warp are contiguous, and what belongs to a channel is read once.
#pragma once
#include "packs.cuh"

#define CHANNEL_THREADS 256

template <int W>
__device__ void unpack(COMPUTE* to, const Pack<SCALAR, W>& pack) {
#pragma unroll
  for (int i = 0; i < W; i++) to[i] = loaded(pack.values, i);
}

template <int W>
__device__ void load_pack(COMPUTE* to, const SCALAR* from, index_t at) { unpack<W>(to, pack_at<W>(from, at)); }

template <int W>
__device__ void store_pack(SCALAR* to, index_t at, const COMPUTE* from) {
  Pack<SCALAR, W> pack;
#pragma unroll
  for (int i = 0; i < W; i++) stored(pack.values, i, from[i]);
  put_pack(to, at, pack);
}

// Where a thread stands: its first channel, its group of rows, and how many groups a block has.
struct Place {
  int c, group, groups;
};

template <int W>
__device__ Place place_of(int lanes) {
  return {(int)(blockIdx.x * lanes + threadIdx.x % lanes) * W, (int)threadIdx.x / lanes, CHANNEL_THREADS / lanes};
}

// Rows of a thread that are loaded ahead: of packs of four 32 bytes from each array.
#define ROWS_AT_ONCE (8 / (int)sizeof(SCALAR))

// The rows of one thread of a walk over all rows: every (groups of the grid)-th one.
template <class Load, class Use>
__device__ void for_all_rows(const Place& place, index_t rows, Load load, Use use) {
  const index_t first = (index_t)blockIdx.y * place.groups + place.group;
  for_ahead<ROWS_AT_ONCE>(first, rows, (index_t)gridDim.y * place.groups, load, use);
}

// Of one that sums up: y of the grid has `1 / gridDim.y` of the rows.
template <class Load, class Use>
__device__ void for_rows_of_part(const Place& place, index_t rows, Load load, Use use) {
  const index_t first = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;
  for_ahead<ROWS_AT_ONCE>(first + place.group, end, place.groups, load, use);
}

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
