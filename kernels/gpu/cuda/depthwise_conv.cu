// Depthwise convolutions: output channel c · m + j reads input channel c. Bound by memory, so neighbouring threads take
// neighbouring channels, 16 bytes each where they can; what several pixels see of the image comes from the cache.
#include "epilogue.cuh"
#include "patches.cuh"

// What rows or columns meet a pixel of the convolution's image: tap t comes from pixel (place - t · dilation) / stride.
__device__ int source_of(int place, int tap, const Extent& e) {
  const int reach = place + e.before - tap * e.dilation;
  return reach >= 0 && reach % e.stride == 0 && reach / e.stride < e.result ? reach / e.stride : -1;
}

// Neighbouring numbers that one thread takes: one, or CHUNK on a multiple of 16 bytes, where a channel has one output.
#define CHUNK (16 / (int)sizeof(SCALAR))

template <int count>
__device__ void load_numbers(COMPUTE (&values)[count], const SCALAR* address) {
  if constexpr (count == 1)
    values[0] = loaded(address, 0);
  else
    load_row(values, address);
}
template <int count>
__device__ void add_products(COMPUTE (&sums)[count], const SCALAR* left, const SCALAR* right) {
  COMPUTE a[count], b[count];
  load_numbers(a, left);
  load_numbers(b, right);
#pragma unroll
  for (int i = 0; i < count; i++) sums[i] += a[i] * b[i];
}

template <int count>
__device__ void forward(const Epilogue<SCALAR>& epilogue, const SCALAR* x, const SCALAR* w, const Geometry& g,
                        index_t total) {
  const Extent &v = g.vertical, &h = g.horizontal;
  const int multiplier = count > 1 ? 1 : g.outputs / g.channels, across = g.outputs / count;
  FOR_EACH(i, total) {
    const int pixel = (int)(i / across), output = (int)(i - (index_t)pixel * across) * count;
    const int line = pixel / h.result, n = line / v.result;
    const int first_row = (line - n * v.result) * v.stride - v.before;
    const int first_column = (pixel - line * h.result) * h.stride - h.before;
    const SCALAR* image = x + (index_t)n * v.image * h.image * g.channels + output / multiplier;
    COMPUTE sums[count] = {};
    for (int r = 0; r < v.kernel; r++) {
      const int row = first_row + r * v.dilation;
      if ((unsigned)row >= (unsigned)v.image) continue;
      for (int s = 0; s < h.kernel; s++) {
        const int column = first_column + s * h.dilation;
        if ((unsigned)column >= (unsigned)h.image) continue;
        add_products(sums, image + (index_t)(row * h.image + column) * g.channels,
                     w + (index_t)(r * h.kernel + s) * g.outputs + output);
      }
    }
    const index_t start = (index_t)pixel * g.outputs;
    if constexpr (count == 1)
      epilogue.store(start, output, sums[0]);
    else
      epilogue.store_several(start, output, g.outputs, sums);
  }
}

#define DEPTHWISE(name, count)                                                                                 \
  KERNEL name(SCALAR* y, const SCALAR* x, const SCALAR* w, const SCALAR* bias, int has_bias, int activation,   \
              Geometry g, index_t total) {                                                                     \
    forward<count>({y, has_bias ? bias : nullptr, nullptr, activation}, x, w, g, total);                       \
  }
DEPTHWISE(depthwise_conv2d, 1)
DEPTHWISE(depthwise_conv2d_chunks, CHUNK)

template <int count>
__device__ void backward(SCALAR* dx, const SCALAR* dy, const SCALAR* w, const Geometry& g, index_t total) {
  const Extent &v = g.vertical, &h = g.horizontal;
  const int multiplier = count > 1 ? 1 : g.outputs / g.channels, across = g.channels / count;
  const Epilogue<SCALAR> epilogue = {dx, nullptr, nullptr, NONE};
  FOR_EACH(i, total) {
    const int pixel = (int)(i / across), channel = (int)(i - (index_t)pixel * across) * count;
    const int line = pixel / h.image, n = line / v.image;
    const int row = line - n * v.image, column = pixel - line * h.image;
    COMPUTE sums[count] = {};
    for (int r = 0; r < v.kernel; r++) {
      const int p = source_of(row, r, v);
      if (p < 0) continue;
      for (int s = 0; s < h.kernel; s++) {
        const int q = source_of(column, s, h);
        if (q < 0) continue;
        const SCALAR* slope = dy + (((index_t)n * v.result + p) * h.result + q) * g.outputs + channel * multiplier;
        const SCALAR* weight = w + (index_t)(r * h.kernel + s) * g.outputs + channel * multiplier;
        for (int j = 0; j < multiplier; j++) add_products(sums, slope + j, weight + j);
      }
    }
    const index_t start = (index_t)pixel * g.channels;
    if constexpr (count == 1)
      epilogue.store(start, channel, sums[0]);
    else
      epilogue.store_several(start, channel, g.channels, sums);
  }
}

KERNEL depthwise_conv2d_grad_input(SCALAR* dx, const SCALAR* dy, const SCALAR* w, Geometry g, index_t total) {
  backward<1>(dx, dy, w, g, total);
}
KERNEL depthwise_conv2d_grad_input_chunks(SCALAR* dx, const SCALAR* dy, const SCALAR* w, Geometry g, index_t total) {
  backward<CHUNK>(dx, dy, w, g, total);
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
