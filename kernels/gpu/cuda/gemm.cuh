// Products of matrices whose elements are looked up: result (row, column) = Σ left(row, term) · right(column, term).
//
// A block of 256 threads makes a tile of the result, each thread `side` × `side` of it, from 16 terms at a time in shared
// memory: 64 × 64 by threads of side 4, or 128 × 128 by threads of side 8, which read half as much for each product and
// suit results that are large enough to fill a GPU so (kernels/gpu/products.py chooses).
// The next terms are on their way to registers while these are multiplied. Terms are added in their order, in COMPUTE.
// Bound by arithmetic where both sides of the result are long. A loop on tensor cores would take the place of `multiply`:
// the operands below stay what they are.
//
// An operand looks up a line (a row of the left one, a column of the right one) once and a term once in each step:
//   ALONG_TERMS             whether neighbours in memory are terms of a line, or else lines
//   Line line(int number)   where a line is; of one beyond the last all values are 0
//   Term term(int number)   where a term is
//   COMPUTE value(const Line&, const Term&)
#pragma once
#include "activated.cuh"

#define TERMS 16
#define ACROSS 16  // threads of a block along each side of its tile

// Read from shared memory at once. A thread has every sixteenth four of a tile's lines, so that neighbouring threads
// read neighbouring fours.
#define FOUR 4
struct alignas(FOUR * sizeof(COMPUTE)) Four {
  COMPUTE at[FOUR];
};
template <int side>
struct TileRow {
  Four fours[ACROSS * side / FOUR + 1];  // the one more keeps threads that write one line off the same bank
};

// A matrix in memory, by any steps between lines and between terms.
template <bool along_terms>
struct Matrix {
  static constexpr bool ALONG_TERMS = along_terms;
  typedef index_t Line;
  typedef index_t Term;
  const SCALAR* start;
  int lines;
  index_t line_step, term_step;

  __device__ Line line(int number) const { return number < lines ? number * line_step : -1; }
  __device__ Term term(int number) const { return number * term_step; }
  __device__ COMPUTE value(Line line, Term term) const { return line < 0 ? (COMPUTE)0 : loaded(start, line + term); }
};

// The values of an operand that one thread carries to shared memory in each step, so that neighbouring threads
// read neighbours in memory.
template <int side, class Operand>
struct Carrier {
  static constexpr bool ALONG_TERMS = Operand::ALONG_TERMS;
  static constexpr int LINES = ACROSS * side;
  const Operand& operand;
  typename Operand::Line lines[ALONG_TERMS ? side : 1];
  COMPUTE values[side];

  __device__ Carrier(const Operand& operand, int first) : operand(operand) {
    if constexpr (ALONG_TERMS) {
#pragma unroll
      for (int i = 0; i < side; i++) lines[i] = operand.line(first + line_of(i));
    } else {
      lines[0] = operand.line(first + line_of(0));
    }
  }
  __device__ static int line_of(int i) {
    return ALONG_TERMS ? threadIdx.x / TERMS + i * ACROSS : threadIdx.x % LINES;
  }
  __device__ static int term_of(int i) {
    return ALONG_TERMS ? threadIdx.x % TERMS : threadIdx.x / LINES + i * (TERMS / side);
  }
  __device__ void fetch(int first, int last) {
    if constexpr (ALONG_TERMS) {
      const int number = first + term_of(0);
      const bool inside = number < last;
      const typename Operand::Term term = operand.term(inside ? number : first);
#pragma unroll
      for (int i = 0; i < side; i++) values[i] = inside ? operand.value(lines[i], term) : (COMPUTE)0;
    } else {
#pragma unroll
      for (int i = 0; i < side; i++) {
        const int number = first + term_of(i);
        values[i] = number < last ? operand.value(lines[0], operand.term(number)) : (COMPUTE)0;
      }
    }
  }
  __device__ void put(TileRow<side>* tile) const {
#pragma unroll
    for (int i = 0; i < side; i++) {
      const int line = line_of(i);
      tile[term_of(i)].fours[line / FOUR].at[line % FOUR] = values[i];
    }
  }
};

// Which line of a tile the i-th of a thread is; `place` is the thread's along that side of the tile.
__device__ int line_of_thread(int place, int i) { return (i / FOUR * ACROSS + place) * FOUR + i % FOUR; }

// The sums of this thread over the terms from `first` to before `last`, of a tile whose first line of each is given.
template <int side, class Left, class Right>
__device__ void multiply(const Left& left, const Right& right, int row, int column, int first, int last,
                         COMPUTE (&sums)[side][side]) {
  __shared__ TileRow<side> lefts[TERMS], rights[TERMS];
  Carrier<side, Left> from_left(left, row);
  Carrier<side, Right> from_right(right, column);
#pragma unroll
  for (int i = 0; i < side; i++)
#pragma unroll
    for (int j = 0; j < side; j++) sums[i][j] = 0;
  from_left.fetch(first, last);
  from_right.fetch(first, last);
  for (int term = first; term < last; term += TERMS) {
    from_left.put(lefts);
    from_right.put(rights);
    __syncthreads();
    if (term + TERMS < last) {
      from_left.fetch(term + TERMS, last);
      from_right.fetch(term + TERMS, last);
    }
#pragma unroll
    for (int t = 0; t < TERMS; t++) {
      Four a[side / FOUR], b[side / FOUR];
#pragma unroll
      for (int i = 0; i < side / FOUR; i++) {
        a[i] = lefts[t].fours[i * ACROSS + threadIdx.x / ACROSS];
        b[i] = rights[t].fours[i * ACROSS + threadIdx.x % ACROSS];
      }
#pragma unroll
      for (int i = 0; i < side; i++)
#pragma unroll
        for (int j = 0; j < side; j++) sums[i][j] += a[i / FOUR].at[i % FOUR] * b[j / FOUR].at[j % FOUR];
    }
    __syncthreads();
  }
}

// Which tile a block makes, of which of several products. Blocks that share rows are neighbours: the left operand, which
// is the larger one of most layers, is read from memory once and then from the cache.
struct Tile {
  int row, column, product;
};
template <int side>
__device__ Tile tile_of_block(int rows, int columns) {
  constexpr int LINES = ACROSS * side;
  const unsigned across = (columns + LINES - 1) / LINES, down = (rows + LINES - 1) / LINES;
  const unsigned block = blockIdx.x, line = block / across;
  return {(int)(line % down) * LINES, (int)(block % across) * LINES, (int)(line / down)};
}

// Hand each sum inside the result to `store(row, column, sum)`.
template <int side, class Store>
__device__ void store_sums(const COMPUTE (&sums)[side][side], const Tile& tile, int rows, int columns, Store store) {
#pragma unroll
  for (int i = 0; i < side; i++)
#pragma unroll
    for (int j = 0; j < side; j++) {
      const int row = tile.row + line_of_thread(threadIdx.x / ACROSS, i);
      const int column = tile.column + line_of_thread(threadIdx.x % ACROSS, j);
      if (row < rows && column < columns) store(row, column, sums[i][j]);
    }
}
