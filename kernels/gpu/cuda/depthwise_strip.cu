// Depthwise convolutions with one output a channel, kernels 3 or 5 wide and strides of 1 or 2 along a line: what networks
// are made of. All else is left to depthwise_conv.cu. Bound by memory.
//
// A thread takes the channels of 16 bytes and a strip of STRIP neighbouring pixels of a line: what these see of a line is
// loaded once, all of it before the first product. The threads of a block (lanes of channels, strips, lines) are
// neighbours in all three, so that lines and borders that several of them read come from the nearest cache.
#include "strips.cuh"

// Where a thread stands among `strips` of each of `lines`: its first channel, its strip and its line, if there are such.
struct Place {
  int channel, strip, line;
  bool exists;
};

__device__ Place place_of_thread(int channels, int strips, int lines) {
  const int lane_tiles = (channels + CHUNK * blockDim.x - 1) / (CHUNK * blockDim.x);
  const int strip_tiles = (strips + blockDim.y - 1) / blockDim.y;
  const int rest = blockIdx.x / lane_tiles;
  Place at;
  at.channel = (int)(blockIdx.x % lane_tiles * blockDim.x + threadIdx.x) * CHUNK;
  at.strip = rest % strip_tiles * blockDim.y + threadIdx.y;
  at.line = rest / strip_tiles * blockDim.z + threadIdx.z;
  at.exists = at.channel < channels && at.strip < strips && at.line < lines;
  return at;
}

// The weights of a line of taps.
template <int kernel>
__device__ void load_taps(COMPUTE (&taps)[kernel][CHUNK], const SCALAR* w, int row, int channels, int channel) {
#pragma unroll
  for (int s = 0; s < kernel; s++) load_row(taps[s], w + (index_t)(row * kernel + s) * channels + channel);
}

template <int kernel, int stride>
__device__ void forward(SCALAR* y, const SCALAR* x, const SCALAR* w, const SCALAR* bias, int activation,
                        const Geometry& g) {
  constexpr int SEEN = (STRIP - 1) * stride + kernel;
  const Extent &v = g.vertical, &h = g.horizontal;
  const Place at = place_of_thread(g.channels, (h.result + STRIP - 1) / STRIP, g.images * v.result);
  if (!at.exists) return;
  const int n = at.line / v.result, top = (at.line - n * v.result) * v.stride - v.before;
  const int left = at.strip * STRIP * stride - h.before;
  COMPUTE sums[STRIP][CHUNK] = {};
  for (int r = 0; r < v.kernel; r++) {
    const int row = top + r * v.dilation;
    if (!inside(row, v.image)) continue;
    const SCALAR* line = x + ((index_t)n * v.image + row) * h.image * g.channels + at.channel;
    uint4 seen[SEEN];
#pragma unroll
    for (int j = 0; j < SEEN; j++)
      if (inside(left + j, h.image)) seen[j] = chunk_at(line + (index_t)(left + j) * g.channels);
    COMPUTE taps[kernel][CHUNK];
    load_taps(taps, w, r, g.channels, at.channel);
#pragma unroll
    for (int j = 0; j < SEEN; j++) {
      if (!inside(left + j, h.image)) continue;
      COMPUTE values[CHUNK];
      unpack(values, seen[j]);
#pragma unroll
      for (int t = 0; t < STRIP; t++) {
        const int s = j - t * stride;
        if (s < 0 || s >= kernel) continue;
#pragma unroll
        for (int i = 0; i < CHUNK; i++) sums[t][i] += values[i] * taps[s][i];
      }
    }
  }
  COMPUTE added[CHUNK];
  if (bias) {
#pragma unroll
    for (int i = 0; i < CHUNK; i++) added[i] = loaded(bias, at.channel + i);
  }
#pragma unroll
  for (int t = 0; t < STRIP; t++) {
    const int column = at.strip * STRIP + t;
    if (column >= h.result) break;
#pragma unroll
    for (int i = 0; i < CHUNK; i++) sums[t][i] = activated(bias ? sums[t][i] + added[i] : sums[t][i], activation);
    store_row(y + ((index_t)at.line * h.result + column) * g.channels + at.channel, sums[t]);
  }
}

// Strips of the image begin where taps of the same numbers meet them: at a multiple of the stride, counted from where
// the padding begins. Strip · STRIP + t is met by tap t - j · stride of the pixel j behind the one that begins there.
template <int kernel, int stride>
__device__ void backward(SCALAR* dx, const SCALAR* dy, const SCALAR* w, const Geometry& g) {
  constexpr int BEFORE = (kernel - 1) / stride, SEEN = BEFORE + (STRIP - 1) / stride + 1;
  const Extent &v = g.vertical, &h = g.horizontal;
  const int early = h.before % stride;
  const Place at = place_of_thread(g.channels, (h.image + early + STRIP - 1) / STRIP, g.images * v.image);
  if (!at.exists) return;
  const int n = at.line / v.image, row = at.line - n * v.image;
  const int left = (at.strip * STRIP + h.before - early) / stride - BEFORE;
  COMPUTE sums[STRIP][CHUNK] = {};
  for (int r = 0; r < v.kernel; r++) {
    const int reach = row + v.before - r * v.dilation;
    if (reach < 0 || reach % v.stride || reach / v.stride >= v.result) continue;
    const SCALAR* line = dy + ((index_t)n * v.result + reach / v.stride) * h.result * g.channels + at.channel;
    uint4 seen[SEEN];
#pragma unroll
    for (int j = 0; j < SEEN; j++)
      if (inside(left + j, h.result)) seen[j] = chunk_at(line + (index_t)(left + j) * g.channels);
    COMPUTE taps[kernel][CHUNK];
    load_taps(taps, w, r, g.channels, at.channel);
#pragma unroll
    for (int j = SEEN - 1; j >= 0; j--) {
      if (!inside(left + j, h.result)) continue;
      COMPUTE slopes[CHUNK];
      unpack(slopes, seen[j]);
#pragma unroll
      for (int t = 0; t < STRIP; t++) {
        const int s = t - (j - BEFORE) * stride;
        if (s < 0 || s >= kernel) continue;
#pragma unroll
        for (int i = 0; i < CHUNK; i++) sums[t][i] += slopes[i] * taps[s][i];
      }
    }
  }
#pragma unroll
  for (int t = 0; t < STRIP; t++) {
    const int column = at.strip * STRIP + t - early;
    if (inside(column, h.image)) store_row(dx + ((index_t)at.line * h.image + column) * g.channels + at.channel, sums[t]);
  }
}

#define STRIPS(kernel, stride)                                                                                        \
  KERNEL depthwise_conv2d_##kernel##_##stride(SCALAR* y, const SCALAR* x, const SCALAR* w, const SCALAR* bias,        \
                                              int has_bias, int activation, Geometry g) {                             \
    forward<kernel, stride>(y, x, w, has_bias ? bias : nullptr, activation, g);                                       \
  }                                                                                                                   \
  KERNEL depthwise_conv2d_grad_input_##kernel##_##stride(SCALAR* dx, const SCALAR* dy, const SCALAR* w, Geometry g) { \
    backward<kernel, stride>(dx, dy, w, g);                                                                           \
  }
STRIPS(3, 1)
STRIPS(3, 2)
STRIPS(5, 1)
STRIPS(5, 2)
