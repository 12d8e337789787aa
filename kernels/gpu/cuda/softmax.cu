// Softmax along the last axis: a warp for each row, or a block where rows are long. Bounded by memory: a row is read
// from it once and comes from the cache after that. The output may be an input: a thread writes only what it alone
// still reads.
#include "block.cuh"

// The threads that share a row.
template <bool BLOCK>
struct Team {
  COMPUTE* shared;
  int first, size;
  index_t row;
  __device__ Team(COMPUTE* shared)
      : shared(shared),
        first(BLOCK ? threadIdx.x : threadIdx.x % 32),
        size(BLOCK ? blockDim.x : 32),
        row(BLOCK ? (index_t)blockIdx.x : blockIdx.x * (index_t)(blockDim.x / 32) + threadIdx.x / 32) {}
  template <class Combine>
  __device__ COMPUTE all(COMPUTE value, Combine combine) const {
    return BLOCK ? over_block(value, shared, combine) : over_warp(value, combine);
  }
};

template <bool BLOCK>
__device__ void softmax_of(SCALAR* y_, const SCALAR* x_, int logarithm, int columns, index_t rows, COMPUTE* shared) {
  const Team<BLOCK> team(shared);
  if (team.row >= rows) return;  // whole warps
  const SCALAR* x = x_ + team.row * columns;
  SCALAR* y = y_ + team.row * columns;
  COMPUTE largest = -__int_as_float(0x7F800000);  // not an element: another thread may write it soon
  for (int c = team.first; c < columns; c += team.size) largest = Largest()(largest, (COMPUTE)loaded(x, c));
  largest = team.all(largest, Largest());
  COMPUTE total = 0;
  for (int c = team.first; c < columns; c += team.size) total += exp(loaded(x, c) - largest);
  total = team.all(total, Sum());
  const COMPUTE shift = log(total);
  for (int c = team.first; c < columns; c += team.size) {
    const COMPUTE shifted = loaded(x, c) - largest;
    stored(y, c, logarithm ? (COMPUTE)(shifted - shift) : (COMPUTE)(exp(shifted) / total));
  }
}

template <bool BLOCK>
__device__ void gradient_of(SCALAR* dx_, const SCALAR* dy_, const SCALAR* y_, int logarithm, int columns, index_t rows,
                            COMPUTE* shared) {
  const Team<BLOCK> team(shared);
  if (team.row >= rows) return;
  const index_t start = team.row * columns;
  COMPUTE total = 0;
  for (int c = team.first; c < columns; c += team.size) {
    const COMPUTE dy = loaded(dy_, start + c);
    total += logarithm ? dy : (COMPUTE)(dy * loaded(y_, start + c));
  }
  total = team.all(total, Sum());
  for (int c = team.first; c < columns; c += team.size) {
    const COMPUTE dy = loaded(dy_, start + c), y = loaded(y_, start + c);
    stored(dx_, start + c, logarithm ? (COMPUTE)(dy - exp(y) * total) : (COMPUTE)(y * (dy - total)));
  }
}

KERNEL softmax_warps(SCALAR* y, const SCALAR* x, int logarithm, int columns, index_t rows) {
  softmax_of<false>(y, x, logarithm, columns, rows, nullptr);
}

KERNEL softmax_blocks(SCALAR* y, const SCALAR* x, int logarithm, int columns, index_t rows) {
  __shared__ COMPUTE shared[32];
  softmax_of<true>(y, x, logarithm, columns, rows, shared);
}

KERNEL softmax_grad_warps(SCALAR* dx, const SCALAR* dy, const SCALAR* y, int logarithm, int columns, index_t rows) {
  gradient_of<false>(dx, dy, y, logarithm, columns, rows, nullptr);
}

KERNEL softmax_grad_blocks(SCALAR* dx, const SCALAR* dy, const SCALAR* y, int logarithm, int columns, index_t rows) {
  __shared__ COMPUTE shared[32];
  gradient_of<true>(dx, dy, y, logarithm, columns, rows, shared);
}
