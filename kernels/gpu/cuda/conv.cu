// Convolutions of images (n, h, w, c) with weights (k, r, s, c / groups), and the ways back, as products of matrices:
// of what each pixel sees with the weights. Groups are separate products.
#include "parts.cuh"
#include "patch_operands.cuh"

template <int lines>
__device__ void forward(SCALAR* y, const SCALAR* x, const SCALAR* w, const SCALAR* bias, const SCALAR* residual,
                        int has_bias, int has_residual, int activation, const Geometry& g) {
  const int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
  const int rows = g.images * g.vertical.result * g.horizontal.result;
  const Tile tile = tile_of_block<lines>(rows, outputs);
  const Patches patches(x + tile.product * channels, g.images, channels, g.channels, forward_axis(g.vertical),
                        forward_axis(g.horizontal));
  const index_t first = (index_t)tile.product * outputs;
  const Matrix<true> weights = {w + first * patches.terms(), outputs, patches.terms(), 1};
  Product<lines> product;
  product.multiply(PixelLines{patches}, weights, tile.row, tile.column, 0, patches.terms());
  const Epilogue<SCALAR> epilogue = {y + first, has_bias ? bias + first : nullptr,
                                     has_residual ? residual + first : nullptr, activation};
  product.store(tile.row, tile.column, rows, outputs, epilogue, [&](int row) { return (index_t)row * g.outputs; });
}

#define CONVOLUTION(name, lines)                                                                         \
  PRODUCT_KERNEL(lines) name(SCALAR* y, const SCALAR* x, const SCALAR* w, const SCALAR* bias,            \
                             const SCALAR* residual, int has_bias, int has_residual, int activation,     \
                             Geometry g) {                                                               \
    forward<lines>(y, x, w, bias, residual, has_bias, has_residual, activation, g);                      \
  }
CONVOLUTION(conv2d, 64)
CONVOLUTION(conv2d_wide, 128)

// From the result of a convolution of geometry `g`, back to its image: products of groups and phases. Without a bias, or
// what else is to be added, the address of that is nullptr.
template <int lines, bool along_channels>
__device__ void backward(SCALAR* image, const SCALAR* result, const SCALAR* w, const SCALAR* bias, const SCALAR* added,
                         int activation, const Geometry& g) {
  const int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
  const int kernel = g.vertical.kernel * g.horizontal.kernel;
  // Phase 0 has as many pixels as any other.
  const int most = g.images * ((g.vertical.image - 1) / g.vertical.stride + 1) *
                   ((g.horizontal.image - 1) / g.horizontal.stride + 1);
  const Tile tile = tile_of_block<lines>(most, channels);
  const int phases = g.vertical.stride * g.horizontal.stride;
  const int group = tile.product / phases, phase = tile.product % phases;
  const Axis vertical = backward_axis(g.vertical, phase / g.horizontal.stride);
  const Axis horizontal = backward_axis(g.horizontal, phase % g.horizontal.stride);
  const Patches patches(result + group * outputs, g.images, outputs, g.outputs, vertical, horizontal);
  const int rows = patches.pixels();
  if (tile.row >= rows) return;

  // Weights lie (output, tap, channel), or for a transposed convolution (channel, tap, output).
  const index_t size = (index_t)kernel * outputs * channels;
  const TapWeights<along_channels> weights = {
      w + group * size, channels, g.horizontal.kernel, along_channels ? (index_t)kernel * outputs : 1,
      along_channels ? outputs : channels, along_channels ? 1 : (index_t)kernel * channels, patches};
  Product<lines> product;
  product.multiply(PixelLines{patches}, weights, tile.row, tile.column, 0, patches.terms());
  const int first = group * channels;
  const Epilogue<SCALAR> epilogue = {image + first, bias ? bias + first : nullptr, added ? added + first : nullptr,
                                     activation};
  product.store(tile.row, tile.column, rows, channels, epilogue, [&](int row) {
    const int n = patches.by_image.quotient(row), within = row - n * (int)patches.by_image.divisor;
    const int u = patches.by_line.quotient(within), v = within - u * (int)patches.by_line.divisor;
    const index_t line = (index_t)n * g.vertical.image + vertical.first + u * vertical.step;
    return (line * g.horizontal.image + horizontal.first + v * horizontal.step) * g.channels;
  });
}

#define WAY_BACK(suffix, lines)                                                                                       \
  PRODUCT_KERNEL(lines) conv2d_grad_input##suffix(SCALAR* dx, const SCALAR* dy, const SCALAR* w, const SCALAR* other, \
                                                  int has_other, Geometry g) {                                        \
    backward<lines, false>(dx, dy, w, nullptr, has_other ? other : nullptr, NONE, g);                                 \
  }                                                                                                                   \
  PRODUCT_KERNEL(lines) conv_transpose2d##suffix(SCALAR* y, const SCALAR* x, const SCALAR* w,                         \
                                                 const SCALAR* bias, int has_bias, int activation, Geometry g) {      \
    backward<lines, true>(y, x, w, has_bias ? bias : nullptr, nullptr, activation, g);                                \
  }
WAY_BACK(, 64)
WAY_BACK(_wide, 128)

// dw or the parts of it: sums over so many pixels each. Products are counted group by group, then part by part.
template <int lines, class Result>
__device__ void weight_gradient(Result* dw, const SCALAR* dy, const SCALAR* x, int part_pixels, const Geometry& g) {
  const int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
  const int columns = g.vertical.kernel * g.horizontal.kernel * channels;
  const Tile tile = tile_of_block<lines>(outputs, columns);
  const int group = tile.product % g.groups, part = tile.product / g.groups;
  const Patches patches(x + group * channels, g.images, channels, g.channels, forward_axis(g.vertical),
                        forward_axis(g.horizontal));
  const Matrix<false> slopes = {dy + group * outputs, outputs, 1, g.outputs};
  const int first = part * part_pixels, last = min(first + part_pixels, patches.pixels());
  Product<lines> product;
  product.multiply(slopes, TapLines{patches}, tile.row, tile.column, first, last);
  const Epilogue<Result> epilogue = {dw + (index_t)tile.product * outputs * columns, nullptr, nullptr, NONE};
  product.store(tile.row, tile.column, outputs, columns, epilogue, [&](int row) { return (index_t)row * columns; });
}

#define WEIGHT_GRADIENT(name, Result, lines)                                                               \
  PRODUCT_KERNEL(lines) name(Result* dw, const SCALAR* dy, const SCALAR* x, int part_pixels, Geometry g) { \
    weight_gradient<lines>(dw, dy, x, part_pixels, g);                                                     \
  }
WEIGHT_GRADIENT(conv2d_grad_weight, SCALAR, 64)
WEIGHT_GRADIENT(conv2d_grad_weight_wide, SCALAR, 128)
WEIGHT_GRADIENT(conv2d_grad_weight_parts, COMPUTE, 64)
WEIGHT_GRADIENT(conv2d_grad_weight_parts_wide, COMPUTE, 128)
