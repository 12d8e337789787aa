// Dense layers and matrix products, batch by batch. Steps between elements say what is transposed.
#include "gemm.cuh"
#include "parts.cuh"

// Filled by kernels/gpu/linear.py. Of a long sum each part has `part_terms`.
struct Product {
  int rows, columns, terms, batches, part_terms, has_bias, activation;
  index_t left_batch, left_row, left_term, right_batch, right_column, right_term;
};

// Products are counted batch by batch, then part by part: what they add up to lies so in `y` too.
template <int side, bool left_along, bool right_along, class Result>
__device__ void product(Result* y, const SCALAR* left, const SCALAR* right, const SCALAR* bias, const Product& p) {
  const Tile tile = tile_of_block<side>(p.rows, p.columns);
  const int batch = tile.product % p.batches, first = tile.product / p.batches * p.part_terms;
  const Matrix<left_along> a = {left + batch * p.left_batch, p.rows, p.left_row, p.left_term};
  const Matrix<right_along> b = {right + batch * p.right_batch, p.columns, p.right_column, p.right_term};
  COMPUTE sums[side][side];
  multiply(a, b, tile.row, tile.column, first, min(first + p.part_terms, p.terms), sums);
  Result* result = y + (index_t)tile.product * p.rows * p.columns;
  store_sums(sums, tile, p.rows, p.columns, [&](int row, int column, COMPUTE sum) {
    if (p.has_bias) sum += loaded(bias, column);
    stored(result, (index_t)row * p.columns + column, activated(sum, p.activation));
  });
}

// For each order of elements in memory: the result by small and by wide tiles, and parts of it, which are few tiles.
#define PRODUCT(name, left_along, right_along)                                                                        \
  KERNEL name(SCALAR* y, const SCALAR* left, const SCALAR* right, const SCALAR* bias, Product p) {                    \
    product<4, left_along, right_along>(y, left, right, bias, p);                                                     \
  }                                                                                                                   \
  KERNEL name##_wide(SCALAR* y, const SCALAR* left, const SCALAR* right, const SCALAR* bias, Product p) {             \
    product<8, left_along, right_along>(y, left, right, bias, p);                                                     \
  }                                                                                                                   \
  KERNEL name##_parts(COMPUTE* partial, const SCALAR* left, const SCALAR* right, const SCALAR* bias, Product p) {     \
    product<4, left_along, right_along>(partial, left, right, bias, p);                                               \
  }

PRODUCT(rows_by_columns, true, true)
PRODUCT(rows_by_rows, true, false)
PRODUCT(columns_by_columns, false, true)
PRODUCT(columns_by_rows, false, false)
