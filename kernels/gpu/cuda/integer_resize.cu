// Resized images of stored numbers (n, h, w, c): each result is mixed of 2 × 2 pixels by whole weights. Bound by memory.
#include "images.cuh"
#include "rescaling.cuh"

// Two positions along an axis and their weights (kernels/gpu/integer_resize.py).
struct alignas(16) Mixed {
  int positions[2], weights[2];
};

struct Mixing {
  int height, width, rows, columns, channels;
  int bits, away;  // places that are rounded, halves upwards or away from zero
};

template <int LANES>
__device__ void mix(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, const Mixing& g, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, g.rows, g.columns, g.channels);
    const Mixed down = reinterpret_cast<const Mixed*>(rows)[at.row];
    const Mixed across = reinterpret_cast<const Mixed*>(columns)[at.column];
    Total totals[LANES] = {};
    int seen[LANES];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const int r = k / 2, s = k % 2;
      const Total weight = down.weights[r] * across.weights[s];
      load_lanes(seen, x + address_of(at.image, down.positions[r], across.positions[s], at.channel, g.height, g.width,
                                      g.channels));
#pragma unroll
      for (int e = 0; e < LANES; e++) totals[e] += weight * seen[e];
    }
#pragma unroll
    for (int e = 0; e < LANES; e++) {
      const Total half = ((Total)1 << (g.bits - 1)) - (g.away && totals[e] < 0 ? 1 : 0);
      seen[e] = (int)((totals[e] + half) >> g.bits);
    }
    store_lanes(y + i * LANES, seen);
  }
}

KERNEL resize(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, Mixing g, index_t count) {
  mix<1>(y, x, rows, columns, g, count);
}
KERNEL resize_wide(SCALAR* y, const SCALAR* x, const int* rows, const int* columns, Mixing g, index_t count) {
  mix<WIDE_LANES>(y, x, rows, columns, g, count);
}
