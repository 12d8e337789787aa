// Convolutions and dense layers of int8 on tensor cores (tensor_tile.cuh), whose channels are multiples of 16, so that
// all operands are read in whole chunks. What lies outside of the image is `zero`, so that zero times the sum of an
// output's weights can be taken off at the end.
#define TENSOR_CORES 1
#include "patch_operands.cuh"
#include "rescaling.cuh"

// What pixels see; outside of the image that is a chunk of zero points.
struct StoredPixels {
  static constexpr bool ALONG_TERMS = true;
  typedef Pixel Line;
  typedef Tap Term;
  const Patches& patches;
  const SCALAR* outside;
  __device__ Pixel line(int number) const { return patches.pixel(number); }
  __device__ Tap term(int number) const { return patches.tap(number); }
  __device__ const SCALAR* at(const Pixel& pixel, const Tap& tap) const {
    const SCALAR* found = patches.at(pixel, tap);
    return found ? found : outside;
  }
  __device__ bool in_chunks() const { return true; }
};

struct Weights : Matrix<true> {
  __device__ Weights(const SCALAR* start, int lines, index_t terms) : Matrix<true>{start, lines, terms, 1} {}
  __device__ bool in_chunks() const { return true; }
};

// Stores the sums of a group's outputs, from the first of these on.
struct Results {
  static constexpr int NEIGHBOURS = 8;  // of a row: with sixteen, which 16 bytes are, wide tiles spill registers
  SCALAR* y;
  const int* bias;
  const int* factors;
  const int* weight_sums;
  int bias_words, zero;
  Storing storing;

  __device__ SCALAR number(int sum, int column) const {
    const int total = sum + bias_of(bias, bias_words, column) - zero * weight_sums[column];
    return (SCALAR)stored_number(total, factor_of(factors, column), storing);
  }
  // Neighbours of one row, of which only those before `columns` exist.
  template <int count>
  __device__ void store_several(index_t row, int column, int columns, const int (&sums)[count]) const {
    SCALAR* to = y + row + column;
    Piece<SCALAR, count> numbers;
#pragma unroll
    for (int e = 0; e < count; e++) numbers.values[e] = number(sums[e], min(column + e, columns - 1));
    if (column + count <= columns && starts_row<SCALAR, count>(to)) {
      *reinterpret_cast<Piece<SCALAR, count>*>(to) = numbers;
      return;
    }
#pragma unroll
    for (int e = 0; e < count; e++)
      if (column + e < columns) to[e] = numbers.values[e];
  }
};

template <int lines>
__device__ void forward(SCALAR* y, const SCALAR* x, const SCALAR* w, const int* bias, const int* factors,
                        const int* weight_sums, const SCALAR* outside, int bias_words, int zero,
                        const Storing& storing, const Geometry& g) {
  const int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
  const int rows = g.images * g.vertical.result * g.horizontal.result;
  const Tile tile = tile_of_block<lines>(rows, outputs);
  const Patches patches(x + tile.product * channels, g.images, channels, g.channels, forward_axis(g.vertical),
                        forward_axis(g.horizontal));
  const int first = tile.product * outputs, terms = patches.terms();
  TensorTile<lines> product;
  product.multiply(StoredPixels{patches, outside}, Weights(w + (index_t)first * terms, outputs, terms), tile.row,
                   tile.column, 0, terms);
  const Results results = {y + first, bias + first * bias_words, factors + first * 4, weight_sums + first,
                           bias_words, zero, storing};
  product.store(tile.row, tile.column, rows, outputs, results, [&](int row) { return (index_t)row * g.outputs; });
}

#define CONVOLUTION(name, lines)                                                                                 \
  PRODUCT_KERNEL(lines) name(SCALAR* y, const SCALAR* x, const SCALAR* w, const int* bias, const int* factors,   \
                             const int* weight_sums, const SCALAR* outside, int bias_words, int zero,            \
                             Storing storing, Geometry g) {                                                      \
    forward<lines>(y, x, w, bias, factors, weight_sums, outside, bias_words, zero, storing, g);                  \
  }
CONVOLUTION(conv2d, 64)
CONVOLUTION(conv2d_wide, 128)
