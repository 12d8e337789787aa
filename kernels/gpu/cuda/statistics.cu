// Statistics of what a convolution made, y (rows, channels): of each part of the rows and each channel how many numbers
// there are, their mean, and the sum of squared deviations. One pass over memory, which bounds it.
//
// Eight numbers at a time are held in registers and their statistics merged with what was before (Chan, Golub and
// LeVeque 1979, equation 2.1): no large sum of squares is formed, whose rounding would hide a small deviation.
#include "common.cuh"

#define LANES 32
#define ROWS 8
#define CHUNK 8

struct Moments {
  COMPUTE count, mean, squares;
};

__device__ Moments merged(const Moments& a, const Moments& b) {
  const COMPUTE count = a.count + b.count;
  if (count == 0) return a;
  const COMPUTE share = b.count / count, delta = b.mean - a.mean;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

// Filled by kernels/gpu/statistics.py. Parts are multiples of `step` image lines of `width` rows, but for the last.
struct Parts {
  int parts, slices, steps, step, lines, width, channels;
};

__device__ int part_start(const Parts& p, int part) {
  return min((int)((index_t)p.steps * part / p.parts) * p.step, p.lines) * p.width;
}

// A block gathers those of 32 channels and of one slice of a part: scratch (part, slice, 3, channels).
KERNEL gathered(COMPUTE* slices, const SCALAR* y, Parts p) {
  __shared__ Moments found[ROWS][LANES];
  const int across = (p.channels + LANES - 1) / LANES;
  const int lane = threadIdx.x % LANES, own = threadIdx.x / LANES;
  const int channel = blockIdx.x % across * LANES + lane, number = blockIdx.x / across;
  const int part = number / p.slices, slice = number % p.slices;
  const int start = part_start(p, part), rows = part_start(p, part + 1) - start;
  const int first = start + (int)((index_t)rows * slice / p.slices);
  const int last = start + (int)((index_t)rows * (slice + 1) / p.slices);
  Moments mine = {0, 0, 0};
  if (channel < p.channels) {
    for (int row = first + own; row < last; row += ROWS * CHUNK) {
      COMPUTE values[CHUNK], sum = 0, squares = 0;
      int count = 0;
#pragma unroll
      for (int i = 0; i < CHUNK; i++) {
        const bool inside = i < (last - row + ROWS - 1) / ROWS;
        values[i] = inside ? loaded(y, (index_t)(row + i * ROWS) * p.channels + channel) : (COMPUTE)0;
        sum += values[i];
        count += inside;
      }
      const COMPUTE mean = sum / count;
#pragma unroll
      for (int i = 0; i < CHUNK; i++)
        if (i < count) squares += (values[i] - mean) * (values[i] - mean);
      mine = merged(mine, {(COMPUTE)count, mean, squares});
    }
  }
  found[own][lane] = mine;
  __syncthreads();
  if (own == 0 && channel < p.channels) {
    for (int i = 1; i < ROWS; i++) mine = merged(mine, found[i][lane]);
    COMPUTE* result = slices + (index_t)number * 3 * p.channels + channel;
    result[0] = mine.count;
    result[p.channels] = mine.mean;
    result[2 * p.channels] = mine.squares;
  }
}

// Slices are merged in their order: statistics (part, 3, channels).
KERNEL merged_slices(COMPUTE* statistics, const COMPUTE* slices, int per_part, int channels, index_t count) {
  FOR_EACH(i, count) {
    const index_t part = i / channels, channel = i % channels;
    Moments all = {0, 0, 0};
    for (int slice = 0; slice < per_part; slice++) {
      const COMPUTE* found = slices + (part * per_part + slice) * 3 * channels + channel;
      all = merged(all, {found[0], found[channels], found[2 * channels]});
    }
    COMPUTE* result = statistics + part * 3 * channels + channel;
    result[0] = all.count;
    result[channels] = all.mean;
    result[2 * channels] = all.squares;
  }
}
