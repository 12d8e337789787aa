// Depthwise convolutions of stored numbers (n, h, w, c) with weights (1, r, s, c · multiplier). Bound by memory: a thread
// makes four neighbouring channels of a pixel where a channel has one output, and reads and writes them at once.
#include "patches.cuh"
#include "rescaling.cuh"

#define FOUR 4

template <int count, class T>
struct alignas(count * sizeof(T)) Numbers {
  T of[count];
};

template <int count>
__device__ void depthwise(SCALAR* y, const SCALAR* x, const signed char* w, const int* bias, const int* factors,
                          int bias_words, int zero, const Storing& storing, const Geometry& g, index_t total) {
  const Extent &v = g.vertical, &h = g.horizontal;
  const int multiplier = count > 1 ? 1 : g.outputs / g.channels, across = g.outputs / count;
  FOR_EACH(i, total) {
    const int pixel = (int)(i / across), output = (int)(i - (index_t)pixel * across) * count;
    const int line = pixel / h.result, n = line / v.result;
    const int first_row = (line - n * v.result) * v.stride - v.before;
    const int first_column = (pixel - line * h.result) * h.stride - h.before;
    const SCALAR* image = x + (index_t)n * v.image * h.image * g.channels + output / multiplier;
    Total sums[count];
#pragma unroll
    for (int e = 0; e < count; e++) sums[e] = bias_of(bias, bias_words, output + e);
    for (int r = 0; r < v.kernel; r++) {
      const int row = first_row + r * v.dilation;
      if ((unsigned)row >= (unsigned)v.image) continue;
      for (int s = 0; s < h.kernel; s++) {
        const int column = first_column + s * h.dilation;
        if ((unsigned)column >= (unsigned)h.image) continue;
        typedef Numbers<count, SCALAR> Seen;
        typedef Numbers<count, signed char> Weights;
        const Seen seen = *reinterpret_cast<const Seen*>(image + (index_t)(row * h.image + column) * g.channels);
        const Weights weights = *reinterpret_cast<const Weights*>(w + (index_t)(r * h.kernel + s) * g.outputs + output);
#pragma unroll
        for (int e = 0; e < count; e++) sums[e] += (seen.of[e] - zero) * weights.of[e];
      }
    }
    Numbers<count, SCALAR> numbers;
#pragma unroll
    for (int e = 0; e < count; e++)
      numbers.of[e] = (SCALAR)stored_number(sums[e], factor_of(factors, output + e), storing);
    *reinterpret_cast<Numbers<count, SCALAR>*>(y + (index_t)pixel * g.outputs + output) = numbers;
  }
}

#define DEPTHWISE(name, count)                                                                                  \
  KERNEL name(SCALAR* y, const SCALAR* x, const signed char* w, const int* bias, const int* factors,            \
              int bias_words, int zero, Storing storing, Geometry g, index_t total) {                           \
    depthwise<count>(y, x, w, bias, factors, bias_words, zero, storing, g, total);                              \
  }
DEPTHWISE(depthwise_conv2d, 1)
DEPTHWISE(depthwise_conv2d_fours, FOUR)
