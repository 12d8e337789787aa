// Count, mean and Σ (x - mean)² of rows of channels, read once: statistics[part][count, mean, squares][channel].
//
// Deviations are taken from the mean of a few rows that are in registers; blocks, threads and parts are merged as in
// Chan, Golub, LeVeque (1979), equation 2.1, in an order that shapes decide. Bound by memory.
#pragma once
#include "channels.cuh"

__device__ void merge_moments(COMPUTE& mean, COMPUTE& squares, COMPUTE count, COMPUTE other_mean, COMPUTE other_squares,
                              COMPUTE others) {
  if (others == 0) return;
  const COMPUTE share = others / (count + others), shift = other_mean - mean;
  mean += shift * share;
  squares += other_squares + shift * shift * share * count;
}

// Group 0 gets the moments of all groups. Called by all threads of a block.
template <int W>
__device__ void merge_groups(COMPUTE* mean, COMPUTE* squares, COMPUTE& count, int lanes, const Place& place) {
  __shared__ COMPUTE means[W * CHANNEL_THREADS], deviations[W * CHANNEL_THREADS], counts[CHANNEL_THREADS];
  for (int half = place.groups / 2; half; half /= 2) {
    if (place.group >= half && place.group < 2 * half) {
      counts[threadIdx.x] = count;
      for (int i = 0; i < W; i++) {
        means[i * CHANNEL_THREADS + threadIdx.x] = mean[i];
        deviations[i * CHANNEL_THREADS + threadIdx.x] = squares[i];
      }
    }
    __syncthreads();
    if (place.group < half) {
      const int from = threadIdx.x + half * lanes;
      const COMPUTE others = counts[from];
      for (int i = 0; i < W; i++)
        merge_moments(mean[i], squares[i], count, means[i * CHANNEL_THREADS + from],
                      deviations[i * CHANNEL_THREADS + from], others);
      count += others;
    }
    __syncthreads();
  }
}

// Moments of `splits` pieces of each of `parts` parts, which are multiples of `step` rows: part · splits + piece is y
// of the grid.
template <int W>
__device__ void moments_of_rows(COMPUTE* statistics, const SCALAR* x, index_t rows, int channels, int lanes,
                                index_t step, int parts, int splits) {
  constexpr int BLOCK = W == 1 ? 8 : 16 / sizeof(SCALAR);  // loads of 64 bytes on their way
  const Place place = place_of<W>(lanes);
  const index_t part = blockIdx.y / splits, split = blockIdx.y % splits, steps = (rows + step - 1) / step;
  index_t from = steps * part / parts * step, until = steps * (part + 1) / parts * step;
  from = from < rows ? from : rows;
  until = until < rows ? until : rows;
  index_t row = from + (until - from) * split / splits + place.group;
  const index_t end = from + (until - from) * (split + 1) / splits;
  COMPUTE mean[W] = {}, squares[W] = {}, count = 0;

  if (place.c < channels) {
    for (; row + (BLOCK - 1) * place.groups < end; row += BLOCK * place.groups) {
      COMPUTE values[BLOCK][W];
#pragma unroll
      for (int k = 0; k < BLOCK; k++) load_pack<W>(values[k], x, (row + k * place.groups) * channels + place.c);
#pragma unroll
      for (int i = 0; i < W; i++) {
        COMPUTE center = 0, deviations = 0;
#pragma unroll
        for (int k = 0; k < BLOCK; k++) center += values[k][i];
        center /= BLOCK;
#pragma unroll
        for (int k = 0; k < BLOCK; k++) deviations += (values[k][i] - center) * (values[k][i] - center);
        merge_moments(mean[i], squares[i], count, center, deviations, (COMPUTE)BLOCK);
      }
      count += BLOCK;
    }
    for (; row < end; row += place.groups) {
      COMPUTE values[W];
      load_pack<W>(values, x, row * channels + place.c);
      for (int i = 0; i < W; i++) merge_moments(mean[i], squares[i], count, values[i], (COMPUTE)0, (COMPUTE)1);
      count += 1;
    }
  }
  merge_groups<W>(mean, squares, count, lanes, place);
  if (place.group || place.c >= channels) return;
  COMPUTE* to = statistics + (index_t)blockIdx.y * 3 * channels + place.c;
  for (int i = 0; i < W; i++) {
    to[i] = count;
    to[channels + i] = mean[i];
    to[2 * channels + i] = squares[i];
  }
}

// Group 0 gets the moments of `count` parts in a row of one channel. Called by all threads of a block.
__device__ void merge_parts(COMPUTE& mean, COMPUTE& squares, COMPUTE& count, const COMPUTE* statistics, int parts,
                            int channels, int lanes, const Place& place) {
  mean = squares = count = 0;
  if (place.c < channels)
    for (int part = place.group; part < parts; part += place.groups) {
      const COMPUTE* one = statistics + (index_t)part * 3 * channels + place.c;
      const COMPUTE others = one[0];
      merge_moments(mean, squares, count, one[channels], one[2 * (index_t)channels], others);
      count += others;
    }
  merge_groups<1>(&mean, &squares, count, lanes, place);
}
