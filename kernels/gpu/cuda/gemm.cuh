// Products of matrices whose elements are looked up: result (row, column) = Σ left(row, term) · right(column, term).
//
// A block makes a tile of the result, 64 × 64 or 128 × 128: the wide ones read half as much for each product and suit
// results that are large enough to fill a GPU so (kernels/gpu/products.py chooses). TENSOR_CORES says by what.
//
// An operand looks up a line (a row of the left one, a column of the right one) once and a term once in each step:
//   ALONG_TERMS             whether neighbours in memory are terms of a line, or else lines
//   Line line(int number)   where a line is; of one beyond the last all values are 0
//   Term term(int number)   where a term is
//   const SCALAR* at(const Line&, const Term&)   where a value is, or nullptr for 0
//   bool in_chunks()        whether those neighbours, from any multiple of CHUNK on, are 16 bytes on a multiple of 16
#pragma once
#include "epilogue.cuh"

#define CHUNK (16 / (int)sizeof(SCALAR))

// A matrix in memory, by any steps between lines and between terms; along one of them neighbours touch.
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
  __device__ const SCALAR* at(Line line, Term term) const { return line < 0 ? nullptr : start + line + term; }
  __device__ bool in_chunks() const {
    if (!ALIGNED(start)) return false;
    return along_terms ? line_step % CHUNK == 0 : term_step % CHUNK == 0 && lines % CHUNK == 0;
  }
};

#ifdef TENSOR_CORES
#include "tensor_tile.cuh"
template <int lines>
using Product = TensorTile<lines>;
#ifndef EMULATED
// From sm_80 on two blocks of wide tiles share a multiprocessor, with 128 registers a thread: one computes while the
// other waits.
#define PRODUCT_KERNEL(lines) \
  extern "C" __global__ void __launch_bounds__(2 * lines, __CUDA_ARCH__ >= 800 ? 256 / lines : 1)
#endif
#else
#include "plain_tile.cuh"
template <int lines>
using Product = PlainTile<lines>;
#endif
#ifndef PRODUCT_KERNEL
#define PRODUCT_KERNEL(lines) KERNEL
#endif

// Which tile a block makes, of which of several products. Blocks that share rows are neighbours: the left operand,
// which is the larger one of most layers, is read from memory once and then from the cache.
struct Tile {
  int row, column, product;
};
template <int lines>
__device__ Tile tile_of_block(int rows, int columns) {
  const unsigned across = (columns + lines - 1) / lines, down = (rows + lines - 1) / lines;
  const unsigned block = blockIdx.x, line = block / across;
  return {(int)(line % down) * lines, (int)(block % across) * lines, (int)(line / down)};
}
