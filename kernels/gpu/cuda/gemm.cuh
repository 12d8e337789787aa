// Products of matrices whose elements are looked up: result (row, column) = Σ left(row, term) · right(column, term).
//
// A block of 256 threads makes a tile of 64 × 64, each thread 4 × 4 of it, from 16 terms at a time in shared memory.
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

#define TILE 64
#define TERMS 16
#define GEMM_THREADS 256
#define SIDE 4

struct alignas(SIDE * sizeof(COMPUTE)) Four {
  COMPUTE at[SIDE];
};
typedef Four TileRow[TILE / SIDE + 1];  // the one more keeps threads that write to a column off the same bank

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

// The four values of an operand that one thread carries to shared memory in each step, so that neighbouring threads
// read neighbours in memory.
template <class Operand>
struct Carrier {
  static constexpr bool ALONG_TERMS = Operand::ALONG_TERMS;
  const Operand& operand;
  typename Operand::Line lines[ALONG_TERMS ? SIDE : 1];
  COMPUTE values[SIDE];

  __device__ Carrier(const Operand& operand, int first) : operand(operand) {
    if constexpr (ALONG_TERMS) {
#pragma unroll
      for (int i = 0; i < SIDE; i++) lines[i] = operand.line(first + line_of(i));
    } else {
      lines[0] = operand.line(first + line_of(0));
    }
  }
  __device__ static int line_of(int i) {
    return ALONG_TERMS ? threadIdx.x / TERMS + i * (TILE / SIDE) : threadIdx.x % TILE;
  }
  __device__ static int term_of(int i) {
    return ALONG_TERMS ? threadIdx.x % TERMS : threadIdx.x / TILE + i * (TERMS / SIDE);
  }
  __device__ void fetch(int first, int last) {
    if constexpr (ALONG_TERMS) {
      const int number = first + term_of(0);
      const bool inside = number < last;
      const typename Operand::Term term = operand.term(inside ? number : first);
#pragma unroll
      for (int i = 0; i < SIDE; i++) values[i] = inside ? operand.value(lines[i], term) : (COMPUTE)0;
    } else {
#pragma unroll
      for (int i = 0; i < SIDE; i++) {
        const int number = first + term_of(i);
        values[i] = number < last ? operand.value(lines[0], operand.term(number)) : (COMPUTE)0;
      }
    }
  }
  __device__ void put(TileRow* tile) const {
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
      const int line = line_of(i);
      tile[term_of(i)][line / SIDE].at[line % SIDE] = values[i];
    }
  }
};

// The sums of this thread: rows from row + thread_row(), columns from column + thread_column(); terms first to last - 1.
template <class Left, class Right>
__device__ void multiply(const Left& left, const Right& right, int row, int column, int first, int last,
                         COMPUTE (&sums)[SIDE][SIDE]) {
  __shared__ TileRow lefts[TERMS], rights[TERMS];
  Carrier<Left> from_left(left, row);
  Carrier<Right> from_right(right, column);
#pragma unroll
  for (int i = 0; i < SIDE; i++)
#pragma unroll
    for (int j = 0; j < SIDE; j++) sums[i][j] = 0;
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
      const Four a = lefts[t][threadIdx.x / (TILE / SIDE)], b = rights[t][threadIdx.x % (TILE / SIDE)];
#pragma unroll
      for (int i = 0; i < SIDE; i++)
#pragma unroll
        for (int j = 0; j < SIDE; j++) sums[i][j] += a.at[i] * b.at[j];
    }
    __syncthreads();
  }
}

__device__ int thread_row() { return threadIdx.x / (TILE / SIDE) * SIDE; }
__device__ int thread_column() { return threadIdx.x % (TILE / SIDE) * SIDE; }

// Which tile a block makes, of which of several products. Blocks that share rows are neighbours: the left operand, which
// is the larger one of most layers, is read from memory once and then from the cache.
struct Tile {
  int row, column, product;
};
__device__ Tile tile_of_block(int rows, int columns) {
  const unsigned across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
  const unsigned block = blockIdx.x, line = block / across;
  return {(int)(line % down) * TILE, (int)(block % across) * TILE, (int)(line / down)};
}

// Hand each sum inside the result to `store(row, column, sum)`.
template <class Store>
__device__ void store_sums(const COMPUTE (&sums)[SIDE][SIDE], const Tile& tile, int rows, int columns, Store store) {
  const int row = tile.row + thread_row(), column = tile.column + thread_column();
#pragma unroll
  for (int i = 0; i < SIDE; i++)
#pragma unroll
    for (int j = 0; j < SIDE; j++)
      if (row + i < rows && column + j < columns) store(row + i, column + j, sums[i][j]);
}
