// Convolutions of stored numbers (n, h, w, c) with weights (k, r, s, c / groups), transposed ones, and dense layers,
// which are convolutions of single pixels: products of what each pixel sees with the weights. Groups are separate
// products. Bound by arithmetic where both sides of the result are long, else by memory.
#include "integer_tile.cuh"

__device__ int fours(int channels) { return (channels + FOUR - 1) / FOUR; }

KERNEL conv2d(SCALAR* y, const SCALAR* x, const signed char* w, const int* bias, const int* factors, int bias_words,
              int zero, Storing storing, Geometry g) {
  const int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
  const int rows = g.images * g.vertical.result * g.horizontal.result;
  const Tile tile = tile_of_block(rows, outputs);
  const Patches patches(x + tile.product * channels, g.images, fours(channels), g.channels,
                        forward_axis(g.vertical), forward_axis(g.horizontal));
  const int first = tile.product * outputs;
  const index_t step = (index_t)g.vertical.kernel * g.horizontal.kernel * channels;
  const TapWeights weights(w + first * step, outputs, g.horizontal.kernel, step, channels, patches);
  IntegerTile<SCALAR> product;
  product.multiply(SeenPixels(patches, channels, zero), weights, tile.row, tile.column, zero);
  product.store(tile.row, tile.column, rows, outputs, y + first, bias + first * bias_words, bias_words,
                factors + first * 4, storing, [&](int row) { return (index_t)row * g.outputs; });
}

// From the result of a convolution of geometry `g` to its image, phase by phase of the stride: each sees the same taps
// from all its pixels. `x` is that result, `y` the image.
KERNEL conv_transpose2d(SCALAR* y, const SCALAR* x, const signed char* w, const int* bias, const int* factors,
                        int bias_words, int zero, Storing storing, Geometry g) {
  const int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
  // Phase 0 has as many pixels as any other.
  const int most = g.images * ((g.vertical.image - 1) / g.vertical.stride + 1) *
                   ((g.horizontal.image - 1) / g.horizontal.stride + 1);
  const Tile tile = tile_of_block(most, channels);
  const int phases = g.vertical.stride * g.horizontal.stride;
  const int group = tile.product / phases, phase = tile.product % phases;
  const Axis vertical = backward_axis(g.vertical, phase / g.horizontal.stride);
  const Axis horizontal = backward_axis(g.horizontal, phase % g.horizontal.stride);
  const Patches patches(x + group * outputs, g.images, fours(outputs), g.outputs, vertical, horizontal);
  const int rows = patches.pixels();
  if (tile.row >= rows) return;

  const int first = group * channels;
  const index_t step = (index_t)g.vertical.kernel * g.horizontal.kernel * outputs;
  const TapWeights weights(w + first * step, channels, g.horizontal.kernel, step, outputs, patches);
  IntegerTile<SCALAR> product;
  product.multiply(SeenPixels(patches, outputs, zero), weights, tile.row, tile.column, zero);
  product.store(tile.row, tile.column, rows, channels, y + first, bias + first * bias_words, bias_words,
                factors + first * 4, storing, [&](int row) {
                  const int n = patches.by_image.quotient(row), within = row - n * (int)patches.by_image.divisor;
                  const int u = patches.by_line.quotient(within), v = within - u * (int)patches.by_line.divisor;
                  const index_t line = (index_t)n * g.vertical.image + vertical.first + u * vertical.step;
                  return (line * g.horizontal.image + horizontal.first + v * horizontal.step) * g.channels;
                });
}
