// Images (n, h, w, c): a thread computes LANES neighbouring channels of one pixel, with one load for all of them.
#pragma once
#include "common.cuh"

// As many channels as lie in 16 bytes.
#define WIDE_LANES ((int)(16 / sizeof(SCALAR)))

template <int LANES, class T>
struct alignas(LANES * sizeof(T)) Lanes {
  T lane[LANES];
};

template <int LANES, class C>
__device__ void load_lanes(C (&values)[LANES], const SCALAR* address) {
  const Lanes<LANES, SCALAR> all = *reinterpret_cast<const Lanes<LANES, SCALAR>*>(address);
#pragma unroll
  for (int e = 0; e < LANES; e++) values[e] = loaded(all.lane, e);
}

template <int LANES, class C>
__device__ void store_lanes(SCALAR* address, const C (&values)[LANES]) {
  Lanes<LANES, SCALAR> all;
#pragma unroll
  for (int e = 0; e < LANES; e++) stored(all.lane, e, values[e]);
  *reinterpret_cast<Lanes<LANES, SCALAR>*>(address) = all;
}

struct Pixel {
  index_t image;
  int row, column, channel;
};

template <class Whole>
__device__ Pixel pixel_of(Whole i, Whole rows, Whole columns, Whole groups) {
  Pixel at;
  at.channel = i % groups;
  i /= groups;
  at.column = i % columns;
  i /= columns;
  at.row = i % rows;
  at.image = i / rows;
  return at;
}

// Which pixel of images (n, rows, columns, c) the i-th group of channels belongs to, and the first of its channels.
template <int LANES>
__device__ Pixel pixel_of(index_t i, int rows, int columns, int c) {
  const int groups = c / LANES;
  Pixel at = i >> 32 ? pixel_of<index_t>(i, rows, columns, groups)  // dividing 64 bits is slow
                     : pixel_of<unsigned>((unsigned)i, rows, columns, groups);
  at.channel *= LANES;
  return at;
}

__device__ index_t address_of(index_t image, int row, int column, int channel, int rows, int columns, int c) {
  return ((image * rows + row) * columns + column) * c + channel;
}
