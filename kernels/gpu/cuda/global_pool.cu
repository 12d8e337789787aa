// Means of whole images. A block adds up 32 neighbouring channels of an image, its rows of threads every so-many-th
// pixel each, and then the sums of rows by a fixed tree. Bound by memory. Apart from other pools, as its threads wait.
#include "common.cuh"

#define CHANNELS 32
#define MAX_ROWS 32  // a power of two of threads, each of one channel

KERNEL global_pool(SCALAR* y, const SCALAR* x, index_t pixels, int c, index_t blocks) {
  __shared__ COMPUTE sums[MAX_ROWS][CHANNELS];
  const int groups = (c + CHANNELS - 1) / CHANNELS;
  for (index_t number = blockIdx.x; number < blocks; number += gridDim.x) {
    const index_t image = number / groups;
    const int channel = number % groups * CHANNELS + threadIdx.x;
    COMPUTE total = 0;
    if (channel < c)
      for (index_t pixel = threadIdx.y; pixel < pixels; pixel += blockDim.y)
        total += loaded(x, (image * pixels + pixel) * c + channel);
    sums[threadIdx.y][threadIdx.x] = total;
    for (int half = blockDim.y / 2; half; half /= 2) {
      __syncthreads();
      if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
    }
    if (threadIdx.y == 0 && channel < c)
      stored(y, image * c + channel, (COMPUTE)(sums[0][threadIdx.x] / (COMPUTE)pixels));
    __syncthreads();
  }
}
