// Pools of images (n, h, w, c), bound by memory: windows overlap in the caches. Gradients are gathered: each pixel of
// the input adds up what the windows around it send, in the order of the windows, so no two threads write one place.
#include "images.cuh"

// The windows along one axis. Of adaptive pools `kernel` is 0: cell i spans floor(i · extent / cells) to
// ceil((i + 1) · extent / cells).
struct Axis {
  int extent, cells, kernel, stride, before, after, count_padding;
};

struct Span {
  int first, last, counted;  // inside the image, last excluded; how many positions a mean divides by
};

__device__ Span positions_of(int cell, const Axis& axis) {
  if (axis.kernel == 0) {
    const int first = (index_t)cell * axis.extent / axis.cells;
    const int last = ((index_t)(cell + 1) * axis.extent + axis.cells - 1) / axis.cells;
    return {first, last, last - first};
  }
  const int start = cell * axis.stride - axis.before, end = start + axis.kernel;
  const int first = start > 0 ? start : 0, last = end < axis.extent ? end : axis.extent;
  const int inside = last > first ? last - first : 0;
  const int with_padding = (end < axis.extent + axis.after ? end : axis.extent + axis.after) - start;
  return {first, last, axis.count_padding ? with_padding : inside};
}

// The cells whose windows hold a position: first, and last excluded.
__device__ Span cells_of(int position, const Axis& axis) {
  if (axis.kernel == 0) {
    const int first = (index_t)position * axis.cells / axis.extent;
    const int last = ((index_t)(position + 1) * axis.cells + axis.extent - 1) / axis.extent;
    return {first, last, 0};
  }
  const int reached = position + axis.before;
  const int first = reached < axis.kernel ? 0 : (reached - axis.kernel) / axis.stride + 1;
  const int last = reached / axis.stride + 1;
  return {first, last < axis.cells ? last : axis.cells, 0};
}

__device__ COMPUTE share_of(const Span& rows, const Span& columns) {
  const index_t counted = (index_t)rows.counted * columns.counted;
  return (COMPUTE)1 / (COMPUTE)(counted > 1 ? counted : 1);
}

// The largest values of a window and the first places that hold them, within the kernel; what is no number is largest.
template <int LANES>
__device__ void largest_of(COMPUTE (&best)[LANES], int (&place)[LANES], const SCALAR* x, const Pixel& at,
                           const Axis& rows, const Axis& columns, int c) {
  const Span down = positions_of(at.row, rows), across = positions_of(at.column, columns);
  const int top = at.row * rows.stride - rows.before, left = at.column * columns.stride - columns.before;
#pragma unroll
  for (int e = 0; e < LANES; e++) {
    best[e] = (COMPUTE)-__int_as_float(0x7F800000);
    place[e] = (down.first - top) * columns.kernel + across.first - left;
  }
  for (int i = down.first; i < down.last; i++)
    for (int j = across.first; j < across.last; j++) {
      COMPUTE seen[LANES];
      load_lanes(seen, x + address_of(at.image, i, j, at.channel, rows.extent, columns.extent, c));
      const int here = (i - top) * columns.kernel + j - left;
#pragma unroll
      for (int e = 0; e < LANES; e++)
        if (best[e] == best[e] && (seen[e] > best[e] || seen[e] != seen[e])) {
          best[e] = seen[e];
          place[e] = here;
        }
    }
}

template <int LANES>
__device__ void largest(SCALAR* y, const SCALAR* x, const Axis& rows, const Axis& columns, int c, index_t count) {
  FOR_EACH(i, count) {
    COMPUTE best[LANES];
    int place[LANES];
    largest_of(best, place, x, pixel_of<LANES>(i, rows.cells, columns.cells, c), rows, columns, c);
    store_lanes(y + i * LANES, best);
  }
}

// Place is wide enough for all positions of the kernel: one byte where that does, since it is written and read again.
template <int LANES, class Place>
__device__ void choose(Place* choice, const SCALAR* x, const Axis& rows, const Axis& columns, int c, index_t count) {
  FOR_EACH(i, count) {
    COMPUTE best[LANES];
    int place[LANES];
    largest_of(best, place, x, pixel_of<LANES>(i, rows.cells, columns.cells, c), rows, columns, c);
    Lanes<LANES, Place> chosen;
#pragma unroll
    for (int e = 0; e < LANES; e++) chosen.lane[e] = (Place)place[e];
    reinterpret_cast<Lanes<LANES, Place>*>(choice)[i] = chosen;
  }
}

template <int LANES, class Place>
__device__ void largest_grad(SCALAR* dx, const SCALAR* dy, const Place* choice, const Axis& rows, const Axis& columns,
                             int c, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, rows.extent, columns.extent, c);
    const Span down = cells_of(at.row, rows), across = cells_of(at.column, columns);
    COMPUTE total[LANES] = {};
    for (int p = down.first; p < down.last; p++)
      for (int q = across.first; q < across.last; q++) {
        const index_t from = address_of(at.image, p, q, at.channel, rows.cells, columns.cells, c);
        const int here = (at.row - p * rows.stride + rows.before) * columns.kernel + at.column - q * columns.stride +
                         columns.before;
        const Lanes<LANES, Place> chosen = *reinterpret_cast<const Lanes<LANES, Place>*>(choice + from);
        COMPUTE slope[LANES];
        load_lanes(slope, dy + from);
#pragma unroll
        for (int e = 0; e < LANES; e++)
          if (chosen.lane[e] == here) total[e] += slope[e];
      }
    store_lanes(dx + i * LANES, total);
  }
}

template <int LANES>
__device__ void mean(SCALAR* y, const SCALAR* x, const Axis& rows, const Axis& columns, int c, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, rows.cells, columns.cells, c);
    const Span down = positions_of(at.row, rows), across = positions_of(at.column, columns);
    COMPUTE total[LANES] = {};
    for (int row = down.first; row < down.last; row++)
      for (int column = across.first; column < across.last; column++) {
        COMPUTE seen[LANES];
        load_lanes(seen, x + address_of(at.image, row, column, at.channel, rows.extent, columns.extent, c));
#pragma unroll
        for (int e = 0; e < LANES; e++) total[e] += seen[e];
      }
    const COMPUTE share = share_of(down, across);
#pragma unroll
    for (int e = 0; e < LANES; e++) total[e] *= share;
    store_lanes(y + i * LANES, total);
  }
}

template <int LANES>
__device__ void mean_grad(SCALAR* dx, const SCALAR* dy, const Axis& rows, const Axis& columns, int c, index_t count) {
  FOR_EACH(i, count) {
    const Pixel at = pixel_of<LANES>(i, rows.extent, columns.extent, c);
    const Span down = cells_of(at.row, rows), across = cells_of(at.column, columns);
    COMPUTE total[LANES] = {};
    for (int p = down.first; p < down.last; p++)
      for (int q = across.first; q < across.last; q++) {
        const COMPUTE share = share_of(positions_of(p, rows), positions_of(q, columns));
        COMPUTE slope[LANES];
        load_lanes(slope, dy + address_of(at.image, p, q, at.channel, rows.cells, columns.cells, c));
#pragma unroll
        for (int e = 0; e < LANES; e++) total[e] += slope[e] * share;
      }
    store_lanes(dx + i * LANES, total);
  }
}

#define POOL(kernel, function, lanes)                                                                       \
  KERNEL kernel(SCALAR* y, const SCALAR* x, Axis rows, Axis columns, int c, index_t count) {                \
    function<lanes>(y, x, rows, columns, c, count);                                                         \
  }
#define CHOICE(suffix, lanes, type)                                                                         \
  KERNEL choose##suffix(type* choice, const SCALAR* x, Axis rows, Axis columns, int c, index_t count) {     \
    choose<lanes>(choice, x, rows, columns, c, count);                                                      \
  }                                                                                                         \
  KERNEL largest_grad##suffix(SCALAR* dx, const SCALAR* dy, const type* choice, Axis rows, Axis columns,    \
                              int c, index_t count) {                                                       \
    largest_grad<lanes>(dx, dy, choice, rows, columns, c, count);                                           \
  }

POOL(max_pool, largest, 1)
POOL(max_pool_wide, largest, WIDE_LANES)
POOL(average_pool, mean, 1)
POOL(average_pool_wide, mean, WIDE_LANES)
POOL(average_pool_grad, mean_grad, 1)
POOL(average_pool_grad_wide, mean_grad, WIDE_LANES)
CHOICE(_bytes, 1, unsigned char)
CHOICE(_bytes_wide, WIDE_LANES, unsigned char)
CHOICE(_numbers, 1, int)
