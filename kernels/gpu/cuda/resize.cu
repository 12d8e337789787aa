// Resizing by tables (kernels/gpu/resize.py): two sources and weights for each output position along an axis, and for
// each source the outputs that mix it. Bound by memory; neighbouring outputs share their sources in the caches.
#include "images.cuh"

template <int LANES>
__device__ void mix(SCALAR* y, const SCALAR* x, const int* rows, const COMPUTE* row_weights, const int* columns,
                    const COMPUTE* column_weights, int h, int w, int p, int q, int c, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, p, q, c);
    COMPUTE total[LANES] = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const int down = 2 * at.row + k / 2, across = 2 * at.column + k % 2;
      const COMPUTE weight = row_weights[down] * column_weights[across];
      if (weight == 0) continue;  // nearest has one source, and so has what lies on a pixel
      COMPUTE seen[LANES];
      load_lanes(seen, x + address_of(at.image, rows[down], columns[across], at.channel, h, w, c));
#pragma unroll
      for (int e = 0; e < LANES; e++) total[e] += weight * seen[e];
    }
    store_lanes(y + i * LANES, total);
  }
}

// With what weight an output position mixes a source.
__device__ COMPUTE weight_of(int source, int target, const int* positions, const COMPUTE* weights) {
  const COMPUTE low = positions[2 * target] == source ? weights[2 * target] : (COMPUTE)0;
  return low + (positions[2 * target + 1] == source ? weights[2 * target + 1] : (COMPUTE)0);
}

// `row_reach` and `column_reach` hold for each source the first output position that may mix it and the last + 1.
template <int LANES>
__device__ void unmix(SCALAR* dx, const SCALAR* dy, const int* rows, const COMPUTE* row_weights, const int* row_reach,
                      const int* columns, const COMPUTE* column_weights, const int* column_reach, int h, int w, int p,
                      int q, int c, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, h, w, c);
    COMPUTE total[LANES] = {};
    for (int row = row_reach[2 * at.row]; row < row_reach[2 * at.row + 1]; row++) {
      const COMPUTE row_weight = weight_of(at.row, row, rows, row_weights);
      for (int column = column_reach[2 * at.column]; column < column_reach[2 * at.column + 1]; column++) {
        const COMPUTE weight = row_weight * weight_of(at.column, column, columns, column_weights);
        if (weight == 0) continue;
        COMPUTE slope[LANES];
        load_lanes(slope, dy + address_of(at.image, row, column, at.channel, p, q, c));
#pragma unroll
        for (int e = 0; e < LANES; e++) total[e] += weight * slope[e];
      }
    }
    store_lanes(dx + i * LANES, total);
  }
}

#define RESIZE(suffix, lanes)                                                                                          \
  KERNEL resize##suffix(SCALAR* y, const SCALAR* x, const int* rows, const COMPUTE* row_weights, const int* columns,   \
                        const COMPUTE* column_weights, int h, int w, int p, int q, int c, index_t count) {             \
    mix<lanes>(y, x, rows, row_weights, columns, column_weights, h, w, p, q, c, count);                                \
  }                                                                                                                    \
  KERNEL resize_grad##suffix(SCALAR* dx, const SCALAR* dy, const int* rows, const COMPUTE* row_weights,                \
                             const int* row_reach, const int* columns, const COMPUTE* column_weights,                  \
                             const int* column_reach, int h, int w, int p, int q, int c, index_t count) {              \
    unmix<lanes>(dx, dy, rows, row_weights, row_reach, columns, column_weights, column_reach, h, w, p, q, c, count);   \
  }

RESIZE(, 1)
RESIZE(_wide, WIDE_LANES)
