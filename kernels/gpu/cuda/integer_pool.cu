// Pools of images of stored numbers (n, h, w, c), and means of bands of an axis. Bound by memory: windows overlap in the
// caches, and a thread makes as many neighbouring channels as lie in 16 bytes where that divides them.
#include "images.cuh"
#include "rescaling.cuh"

// What a cell of a pool sees along one axis, last excluded, and how many pixels are counted (kernels/gpu/integer_pool.py).
struct Span {
  int first, last, counted;
};
__device__ Span span_of(const int* spans, int cell) { return reinterpret_cast<const Span*>(spans)[cell]; }

struct Images {
  int height, width, rows, columns, channels;
};

template <int LANES>
__device__ void largest(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, int lowest, const Images& g,
                        index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, g.rows, g.columns, g.channels);
    const Span down = span_of(rows, at.row), across = span_of(columns, at.column);
    int best[LANES], seen[LANES];
#pragma unroll
    for (int e = 0; e < LANES; e++) best[e] = lowest;
    for (int r = down.first; r < down.last; r++)
      for (int s = across.first; s < across.last; s++) {
        load_lanes(seen, x + address_of(at.image, r, s, at.channel, g.height, g.width, g.channels));
#pragma unroll
        for (int e = 0; e < LANES; e++) best[e] = max(best[e], seen[e]);
      }
    store_lanes(y + i * LANES, best);
  }
}

KERNEL max_pool(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, int lowest, Images g, index_t count) {
  largest<1>(y, x, rows, columns, lowest, g, count);
}
KERNEL max_pool_wide(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, int lowest, Images g,
                     index_t count) {
  largest<WIDE_LANES>(y, x, rows, columns, lowest, g, count);
}

// total / count, halves away from zero.
__device__ int mean_of(Total total, int count) {
  const Total size = total < 0 ? -total : total, mean = (size + count / 2) / count;
  return (int)(total < 0 ? -mean : mean);
}

// What stored means are multiplied by, where a file has to do that: a stored number for each cell, and one factor.
struct After {
  Factor factor;
  Storing storing;
  int multiplies;
};

template <int LANES>
__device__ void means(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, const SCALAR* of_cells, int zero,
                      const After& after, const Images& g, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, g.rows, g.columns, g.channels);
    const Span down = span_of(rows, at.row), across = span_of(columns, at.column);
    const int counted = down.counted * across.counted;
    const int inside = max(down.last - down.first, 0) * max(across.last - across.first, 0);
    Total totals[LANES];
    int seen[LANES];
#pragma unroll
    for (int e = 0; e < LANES; e++) totals[e] = (Total)(counted - inside) * zero;
    for (int r = down.first; r < down.last; r++)
      for (int s = across.first; s < across.last; s++) {
        load_lanes(seen, x + address_of(at.image, r, s, at.channel, g.height, g.width, g.channels));
#pragma unroll
        for (int e = 0; e < LANES; e++) totals[e] += seen[e];
      }
#pragma unroll
    for (int e = 0; e < LANES; e++) {
      seen[e] = mean_of(totals[e], counted);
      if (after.multiplies) {
        const Total product = (Total)(seen[e] - zero) * of_cells[at.row * g.columns + at.column];
        seen[e] = stored_number(product, after.factor, after.storing);
      }
    }
    store_lanes(y + i * LANES, seen);
  }
}

KERNEL average_pool(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, const SCALAR* of_cells, int zero,
                    After after, Images g, index_t count) {
  means<1>(y, x, rows, columns, of_cells, zero, after, g, count);
}
KERNEL average_pool_wide(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, const SCALAR* of_cells,
                         int zero, After after, Images g, index_t count) {
  means<WIDE_LANES>(y, x, rows, columns, of_cells, zero, after, g, count);
}

// y (outer, bands, inner): the means of bands of x (outer, extent, inner), each with its own factor.
KERNEL means_of_bands(SCALAR* y, const SCALAR* x, const int* bands, const int* factors, int zero, Storing storing,
                      int extent, int number, int inner, index_t count) {
  FOR_EACH(i, count) {
    const index_t line = i / inner, outer = line / number;
    const int band = (int)(line - outer * number);
    const Span span = span_of(bands, band);
    const SCALAR* column = x + (outer * extent) * inner + (i - line * inner);
    Total total = 0;
    for (int k = span.first; k < span.last; k++) total += column[(index_t)k * inner] - zero;
    y[i] = (SCALAR)stored_number(total, factor_of(factors, band), storing);
  }
}
