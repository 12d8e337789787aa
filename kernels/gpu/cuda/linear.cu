// Dense layers and matrix products, batch by batch. Steps between elements say what is transposed.
#include "gemm.cuh"
#include "parts.cuh"

// Filled by kernels/gpu/linear.py. Of a long sum each part has `part_terms`.
struct Factors {
  int rows, columns, terms, batches, part_terms, has_bias, activation;
  index_t left_batch, left_row, left_term, right_batch, right_column, right_term;
};

// Products are counted batch by batch, then part by part: what they add up to lies so in `y` too.
template <int lines, bool left_along, bool right_along, class Result>
__device__ void multiplied(Result* y, const SCALAR* left, const SCALAR* right, const SCALAR* bias, const Factors& f) {
  const Tile tile = tile_of_block<lines>(f.rows, f.columns);
  const int batch = tile.product % f.batches, first = tile.product / f.batches * f.part_terms;
  const Matrix<left_along> a = {left + batch * f.left_batch, f.rows, f.left_row, f.left_term};
  const Matrix<right_along> b = {right + batch * f.right_batch, f.columns, f.right_column, f.right_term};
  Product<lines> product;
  product.multiply(a, b, tile.row, tile.column, first, min(first + f.part_terms, f.terms));
  const Epilogue<Result> epilogue = {y + (index_t)tile.product * f.rows * f.columns, f.has_bias ? bias : nullptr,
                                     nullptr, f.activation};
  product.store(tile.row, tile.column, f.rows, f.columns, epilogue,
                [&](int row) { return (index_t)row * f.columns; });
}

#define TILES(name, Result, lines, left_along, right_along)                                                       \
  PRODUCT_KERNEL(lines) name(Result* y, const SCALAR* left, const SCALAR* right, const SCALAR* bias, Factors f) { \
    multiplied<lines, left_along, right_along>(y, left, right, bias, f);                                          \
  }

// For each order of elements in memory: the result by small and by wide tiles, and parts of it.
#define PRODUCT(name, left_along, right_along)              \
  TILES(name, SCALAR, 64, left_along, right_along)          \
  TILES(name##_wide, SCALAR, 128, left_along, right_along)  \
  TILES(name##_parts, COMPUTE, 64, left_along, right_along) \
  TILES(name##_parts_wide, COMPUTE, 128, left_along, right_along)

PRODUCT(rows_by_columns, true, true)
PRODUCT(rows_by_rows, true, false)
PRODUCT(columns_by_columns, false, true)
PRODUCT(columns_by_rows, false, false)
