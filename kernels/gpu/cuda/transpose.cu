// Exchange of rows and columns, such as NCHW to NHWC: through a tile of shared memory, so that a warp reads and writes
// whole lines of memory, which bounds it. Apart from the other moves, since its threads wait for each other.
#include "common.cuh"

#define TILE 32
#define TILE_ROWS 8

// y (images, columns, rows) = x (images, rows, columns); blocks of 32 × 8 threads, each of which takes tiles in turn.
KERNEL exchange(SCALAR* y, const SCALAR* x, index_t rows, index_t columns, index_t tiles) {
  __shared__ SCALAR tile[TILE][TILE + 1];  // one more, so that the elements of a column lie in different banks
  const index_t across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
  for (index_t number = blockIdx.x; number < tiles; number += gridDim.x) {
    const index_t image = number / (across * down);
    const index_t row = number / across % down * TILE, column = number % across * TILE;
    const index_t begin = image * rows * columns;
    for (int i = threadIdx.y; i < TILE; i += TILE_ROWS)
      if (row + i < rows && column + threadIdx.x < columns)
        tile[i][threadIdx.x] = x[begin + (row + i) * columns + column + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += TILE_ROWS)
      if (column + i < columns && row + threadIdx.x < rows)
        y[begin + (column + i) * rows + row + threadIdx.x] = tile[threadIdx.x][i];
    __syncthreads();
  }
}
