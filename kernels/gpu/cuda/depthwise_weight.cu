// Weight gradients of the depthwise convolutions of depthwise_strip.cu, in parts of which each has lines of dy. Bound by
// memory, and what the lines of taps read again by the nearest cache.
#include "strips.cuh"

#define THREADS 256  // of a block, at most

// Parts of dw: blocks (lanes of channels, lines of taps, groups) take so many lines of dy each, every group every
// (groups)-th of them; the threads of a group read the same slopes, for another line of taps each.
template <int kernel, int stride>
__device__ void weights(COMPUTE* partial, const SCALAR* dy, const SCALAR* x, int parts, const Geometry& g) {
  constexpr int SEEN = (STRIP - 1) * stride + kernel;
  __shared__ COMPUTE shared[CHUNK][THREADS];
  const Extent &v = g.vertical, &h = g.horizontal;
  const int lane_tiles = (g.channels + CHUNK * blockDim.x - 1) / (CHUNK * blockDim.x);
  const int part = blockIdx.x / lane_tiles, lines = g.images * v.result, r = threadIdx.y;
  const int channel = (int)(blockIdx.x % lane_tiles * blockDim.x + threadIdx.x) * CHUNK;
  const int first = (int)((index_t)lines * part / parts), last = (int)((index_t)lines * (part + 1) / parts);
  COMPUTE sums[kernel][CHUNK] = {};
  for (int at = first + threadIdx.z; at < last && channel < g.channels; at += blockDim.z) {
    const int n = at / v.result, row = (at - n * v.result) * v.stride - v.before + r * v.dilation;
    if (!inside(row, v.image)) continue;
    const SCALAR* slopes = dy + (index_t)at * h.result * g.channels + channel;
    const SCALAR* line = x + ((index_t)n * v.image + row) * h.image * g.channels + channel;
    for (int q = 0; q < h.result; q += STRIP) {
      const int left = q * stride - h.before;
      uint4 given[STRIP], seen[SEEN];
#pragma unroll
      for (int t = 0; t < STRIP; t++)
        if (q + t < h.result) given[t] = chunk_at(slopes + (index_t)(q + t) * g.channels);
#pragma unroll
      for (int j = 0; j < SEEN; j++)
        if (inside(left + j, h.image)) seen[j] = chunk_at(line + (index_t)(left + j) * g.channels);
#pragma unroll
      for (int t = 0; t < STRIP; t++) {
        if (q + t >= h.result) continue;
        COMPUTE slope[CHUNK];
        unpack(slope, given[t]);
#pragma unroll
        for (int s = 0; s < kernel; s++) {
          if (!inside(left + t * stride + s, h.image)) continue;
          COMPUTE value[CHUNK];
          unpack(value, seen[t * stride + s]);
#pragma unroll
          for (int i = 0; i < CHUNK; i++) sums[s][i] += slope[i] * value[i];
        }
      }
    }
  }
  const int group = blockDim.y * blockDim.x, own = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int s = 0; s < kernel; s++) {
#pragma unroll
    for (int i = 0; i < CHUNK; i++) shared[i][threadIdx.z * group + own] = sums[s][i];
    __syncthreads();
    if (threadIdx.z == 0 && channel < g.channels) {
      Pack<COMPUTE, CHUNK> whole;
#pragma unroll
      for (int i = 0; i < CHUNK; i++) {
        whole.values[i] = sums[s][i];
        for (int z = 1; z < (int)blockDim.z; z++) whole.values[i] += shared[i][z * group + own];
      }
      put_pack(partial, ((index_t)part * v.kernel * kernel + r * kernel + s) * g.channels + channel, whole);
    }
    __syncthreads();
  }
}

#define WEIGHTS(kernel, stride)                                                                                 \
  KERNEL depthwise_conv2d_grad_weight_##kernel##_##stride(COMPUTE* partial, const SCALAR* dy, const SCALAR* x,  \
                                                          int parts, Geometry g) {                              \
    weights<kernel, stride>(partial, dy, x, parts, g);                                                          \
  }
WEIGHTS(3, 1)
WEIGHTS(3, 2)
WEIGHTS(5, 1)
WEIGHTS(5, 2)

// dw = Σ parts, which are more than one thread should add: threads (SUM_LANES numbers, SUM_ROWS) take every SUM_ROWS-th.
#define SUM_LANES 32
#define SUM_ROWS 16

template <class Result>
__device__ void sum_parts(Result* dw, const COMPUTE* partial, int parts, int count) {
  __shared__ COMPUTE sums[SUM_ROWS][SUM_LANES];
  const int at = blockIdx.x * SUM_LANES + threadIdx.x;
  COMPUTE sum = 0;
  if (at < count)
    for (int part = threadIdx.y; part < parts; part += SUM_ROWS) sum += partial[(index_t)part * count + at];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y || at >= count) return;
  for (int row = 1; row < SUM_ROWS; row++) sum += sums[row][threadIdx.x];
  stored(dw, at, sum);
}

KERNEL summed_parts(SCALAR* dw, const COMPUTE* partial, int parts, int count) { sum_parts(dw, partial, parts, count); }
// Of factors of 16 bits, not rounded to them.
KERNEL summed_parts_unrounded(COMPUTE* dw, const COMPUTE* partial, int parts, int count) {
  sum_parts(dw, partial, parts, count);
}
