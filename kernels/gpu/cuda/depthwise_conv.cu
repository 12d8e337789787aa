// Depthwise convolutions: output channel c · m + j reads input channel c. Bound by memory, so neighbouring threads take
// neighbouring channels; what several pixels see of the image comes from the cache.
#include "parts.cuh"
#include "patches.cuh"

// What rows or columns meet a pixel of the convolution's image: tap t comes from pixel (place - t · dilation) / stride.
__device__ int source_of(int place, int tap, const Extent& e) {
  const int reach = place + e.before - tap * e.dilation;
  return reach >= 0 && reach % e.stride == 0 && reach / e.stride < e.result ? reach / e.stride : -1;
}

KERNEL depthwise_conv2d(SCALAR* y, const SCALAR* x, const SCALAR* w, const SCALAR* bias, int has_bias, int activation,
                        Geometry g, index_t count) {
  const Extent &v = g.vertical, &h = g.horizontal;
  const int multiplier = g.outputs / g.channels;
  FOR_EACH(i, count) {
    const int pixel = (int)(i / g.outputs), output = (int)(i - (index_t)pixel * g.outputs);
    const int line = pixel / h.result, n = line / v.result;
    const int first_row = (line - n * v.result) * v.stride - v.before;
    const int first_column = (pixel - line * h.result) * h.stride - h.before;
    const SCALAR* image = x + (index_t)n * v.image * h.image * g.channels + output / multiplier;
    COMPUTE sum = 0;
    for (int r = 0; r < v.kernel; r++) {
      const int row = first_row + r * v.dilation;
      if ((unsigned)row >= (unsigned)v.image) continue;
      for (int s = 0; s < h.kernel; s++) {
        const int column = first_column + s * h.dilation;
        if ((unsigned)column >= (unsigned)h.image) continue;
        sum += loaded(image, (index_t)(row * h.image + column) * g.channels) *
               loaded(w, (index_t)(r * h.kernel + s) * g.outputs + output);
      }
    }
    if (has_bias) sum += loaded(bias, output);
    stored(y, i, activated(sum, activation));
  }
}

KERNEL depthwise_conv2d_grad_input(SCALAR* dx, const SCALAR* dy, const SCALAR* w, Geometry g, index_t count) {
  const Extent &v = g.vertical, &h = g.horizontal;
  const int multiplier = g.outputs / g.channels;
  FOR_EACH(i, count) {
    const int pixel = (int)(i / g.channels), channel = (int)(i - (index_t)pixel * g.channels);
    const int line = pixel / h.image, n = line / v.image;
    const int row = line - n * v.image, column = pixel - line * h.image;
    COMPUTE sum = 0;
    for (int r = 0; r < v.kernel; r++) {
      const int p = source_of(row, r, v);
      if (p < 0) continue;
      for (int s = 0; s < h.kernel; s++) {
        const int q = source_of(column, s, h);
        if (q < 0) continue;
        const index_t from = (((index_t)n * v.result + p) * h.result + q) * g.outputs + channel * multiplier;
        const index_t weight = (index_t)(r * h.kernel + s) * g.outputs + channel * multiplier;
        for (int j = 0; j < multiplier; j++) sum += loaded(dy, from + j) * loaded(w, weight + j);
      }
    }
    stored(dx, i, sum);
  }
}

#define LANES 32
#define ROWS 8

// Parts of dw: a block sums, for one tap and 32 outputs, over so many pixels, every eighth of them in each of its rows.
// Blocks of all taps of the same pixels are neighbours and share what they read in the cache.
KERNEL depthwise_conv2d_grad_weight(COMPUTE* partial, const SCALAR* dy, const SCALAR* x, int part_pixels, Geometry g) {
  __shared__ COMPUTE sums[ROWS][LANES];
  const Extent &v = g.vertical, &h = g.horizontal;
  const int taps = v.kernel * h.kernel, across = (g.outputs + LANES - 1) / LANES;
  const int tap = blockIdx.x % taps, rest = blockIdx.x / taps;
  const int lane = threadIdx.x % LANES, own = threadIdx.x / LANES;
  const int output = rest % across * LANES + lane, part = rest / across;
  const int row_offset = tap / h.kernel * v.dilation - v.before, column_offset = tap % h.kernel * h.dilation - h.before;
  const int pixels = g.images * v.result * h.result;
  const int first = part * part_pixels, last = min(first + part_pixels, pixels);
  COMPUTE sum = 0;
  if (output < g.outputs) {
    const int channel = output / (g.outputs / g.channels);
    const Divisor by_line(h.result), by_image(v.result);
    for (int pixel = first + own; pixel < last; pixel += ROWS) {
      const int line = by_line.quotient(pixel), n = by_image.quotient(line);
      const int row = (line - n * v.result) * v.stride + row_offset;
      const int column = (pixel - line * h.result) * h.stride + column_offset;
      if ((unsigned)row >= (unsigned)v.image || (unsigned)column >= (unsigned)h.image) continue;
      const index_t from = ((index_t)n * v.image + row) * h.image + column;
      sum += loaded(x, from * g.channels + channel) * loaded(dy, (index_t)pixel * g.outputs + output);
    }
  }
  sums[own][lane] = sum;
  __syncthreads();
  if (own == 0 && output < g.outputs) {
    for (int i = 1; i < ROWS; i++) sum += sums[i][lane];
    partial[((index_t)part * taps + tap) * g.outputs + output] = sum;
  }
}
