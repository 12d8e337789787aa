// A tile of a product by ordinary arithmetic in COMPUTE: 64 × 64 by 256 threads of 4 × 4 results, or 128 × 128 by
// threads of 8 × 8.
//
// 16 terms at a time lie in shared memory; the next ones are on their way to registers while these are multiplied.
// Terms are added in their order. Bound by arithmetic where both sides of the result are long.
#pragma once
#include "epilogue.cuh"

#define TERMS 16
#define ACROSS 16  // threads of a block along each side of its tile

// Read from shared memory at once. A thread has every sixteenth four of a tile's lines, so that neighbouring threads
// read neighbouring fours.
#define FOUR 4
struct alignas(FOUR * sizeof(COMPUTE)) Four {
  COMPUTE at[FOUR];
};
template <int lines>
struct TileRow {
  Four fours[lines / FOUR + 1];  // the one more keeps threads that write one line off the same bank
};

// The values of an operand that one thread carries to shared memory in each step, so that neighbouring threads
// read neighbours in memory.
template <int tile_lines, class Operand>
struct Carrier {
  static constexpr bool ALONG_TERMS = Operand::ALONG_TERMS;
  static constexpr int VALUES = tile_lines / ACROSS;
  const Operand& operand;
  typename Operand::Line lines[ALONG_TERMS ? VALUES : 1];
  COMPUTE values[VALUES];

  __device__ Carrier(const Operand& operand, int first) : operand(operand) {
    if constexpr (ALONG_TERMS) {
#pragma unroll
      for (int i = 0; i < VALUES; i++) lines[i] = operand.line(first + line_of(i));
    } else {
      lines[0] = operand.line(first + line_of(0));
    }
  }
  __device__ static int line_of(int i) {
    return ALONG_TERMS ? threadIdx.x / TERMS + i * ACROSS : threadIdx.x % tile_lines;
  }
  __device__ static int term_of(int i) {
    return ALONG_TERMS ? threadIdx.x % TERMS : threadIdx.x / tile_lines + i * (TERMS / VALUES);
  }
  __device__ static COMPUTE value(const SCALAR* address) { return address ? loaded(address, 0) : (COMPUTE)0; }
  __device__ void fetch(int first, int last) {
    if constexpr (ALONG_TERMS) {
      const int number = first + term_of(0);
      const bool inside = number < last;
      const typename Operand::Term term = operand.term(inside ? number : first);
#pragma unroll
      for (int i = 0; i < VALUES; i++) values[i] = value(inside ? operand.at(lines[i], term) : nullptr);
    } else {
#pragma unroll
      for (int i = 0; i < VALUES; i++) {
        const int number = first + term_of(i);
        values[i] = value(number < last ? operand.at(lines[0], operand.term(number)) : nullptr);
      }
    }
  }
  __device__ void put(TileRow<tile_lines>* tile) const {
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const int line = line_of(i);
      tile[term_of(i)].fours[line / FOUR].at[line % FOUR] = values[i];
    }
  }
};

template <int lines>
struct PlainTile {
  static constexpr int LINES = lines, SIDE = lines / ACROSS;
  COMPUTE sums[SIDE][SIDE];

  // Add up the terms from `first` to before `last`, of a tile whose first line of each operand is given.
  template <class Left, class Right>
  __device__ void multiply(const Left& left, const Right& right, int row, int column, int first, int last) {
    __shared__ TileRow<lines> lefts[TERMS], rights[TERMS];
    Carrier<lines, Left> from_left(left, row);
    Carrier<lines, Right> from_right(right, column);
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
        Four a[SIDE / FOUR], b[SIDE / FOUR];
#pragma unroll
        for (int i = 0; i < SIDE / FOUR; i++) {
          a[i] = lefts[t].fours[i * ACROSS + threadIdx.x / ACROSS];
          b[i] = rights[t].fours[i * ACROSS + threadIdx.x % ACROSS];
        }
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
          for (int j = 0; j < SIDE; j++) sums[i][j] += a[i / FOUR].at[i % FOUR] * b[j / FOUR].at[j % FOUR];
      }
      __syncthreads();
    }
  }

  // Which line of a tile the i-th of a thread is; `place` is the thread's along that side of the tile.
  __device__ static int line_of_thread(int place, int i) { return (i / FOUR * ACROSS + place) * FOUR + i % FOUR; }

  // Store each sum inside the result, four at once; `place(row)` is where a row of it starts.
  template <class Result, class Place>
  __device__ void store(int first_row, int first_column, int rows, int columns, const Epilogue<Result>& epilogue,
                        Place place) {
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
      const int row = first_row + line_of_thread(threadIdx.x / ACROSS, i);
      if (row >= rows) continue;
      const index_t start = place(row);
#pragma unroll
      for (int j = 0; j < SIDE; j += FOUR) {
        const int column = first_column + line_of_thread(threadIdx.x % ACROSS, j);
        if (column >= columns) continue;
        COMPUTE four[FOUR];
#pragma unroll
        for (int k = 0; k < FOUR; k++) four[k] = sums[i][j + k];
        epilogue.store_several(start, column, columns, four);
      }
    }
  }
};
