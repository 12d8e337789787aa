// Moving elements without computing on them. All of it is bound by memory: what lies together in both arrays moves 16
// bytes at a time, and neighbouring threads write neighbouring addresses.
#include "strided.cuh"

struct Places {
  index_t from, to;
};

// Where the i-th element of a box lies in both arrays. Whole is the narrowest type that counts them: dividing 64 bits
// is slow.
template <class Whole>
__device__ Places places_of(Whole i, const Strides& box) {
  Places at = {0, 0};
  for (int axis = box.rank - 1; axis >= 0; axis--) {
    const Whole size = box.shape[axis], position = i % size;
    i /= size;
    at.from += position * box.a[axis];
    at.to += position * box.b[axis];
  }
  return at;
}

template <class Unit>
__device__ void move_box(Unit* y, const Unit* x, const Strides& box, index_t count) {
  FOR_EACH(i, count) {
    const Places at = i >> 32 ? places_of(i, box) : places_of((unsigned)i, box);
    y[at.to] = x[at.from];
  }
}

// y[to] = x[from] for a box of elements: strides a of x, b of y, both from where their addresses begin. A stride of 0
// repeats. Both begins count elements, or units of 16 bytes.
KERNEL move(SCALAR* y, const SCALAR* x, Strides box, index_t y_begin, index_t x_begin, index_t count) {
  move_box(y + y_begin, x + x_begin, box, count);
}

KERNEL move_wide(SCALAR* y, const SCALAR* x, Strides box, index_t y_begin, index_t x_begin, index_t count) {
  move_box(reinterpret_cast<uint4*>(y) + y_begin, reinterpret_cast<const uint4*>(x) + x_begin, box, count);
}

// Where an element of a padded array comes from: strides a of x, which begins at b and is c long along each axis; -1 is
// outside.
template <class Whole>
__device__ index_t inside(Whole i, const Strides& padded) {
  index_t from = 0;
  bool outside = false;
  for (int axis = padded.rank - 1; axis >= 0; axis--) {
    const Whole size = padded.shape[axis];
    const index_t position = (index_t)(i % size) - padded.b[axis];
    i /= size;
    outside |= position < 0 || position >= padded.c[axis];
    from += position * padded.a[axis];
  }
  return outside ? -1 : from;
}

template <class Unit>
__device__ void pad_box(Unit* y, const Unit* x, Unit value, const Strides& padded, index_t count) {
  FOR_EACH(i, count) {
    const index_t from = i >> 32 ? inside(i, padded) : inside((unsigned)i, padded);
    y[i] = from < 0 ? value : x[from];
  }
}

KERNEL pad(SCALAR* y, const SCALAR* x, COMPUTE value, Strides padded, index_t count) {
  SCALAR filler;
  stored(&filler, 0, value);
  pad_box(y, x, filler, padded, count);
}

KERNEL pad_wide(SCALAR* y, const SCALAR* x, COMPUTE value, Strides padded, index_t count) {
  uint4 filler;
#pragma unroll
  for (int lane = 0; lane < (int)(16 / sizeof(SCALAR)); lane++) stored(reinterpret_cast<SCALAR*>(&filler), lane, value);
  pad_box(reinterpret_cast<uint4*>(y), reinterpret_cast<const uint4*>(x), filler, padded, count);
}
