// What integer_tensor_conv.cu needs of weights beside themselves.
#include "block.cuh"

#define FOUR 4
#define ONES 0x01010101

// The sum of each output's weights, whose count is a multiple of four: a warp for each.
KERNEL weight_sums(int* sums, const SCALAR* w, index_t terms, index_t outputs) {
  const index_t output = blockIdx.x * (index_t)(blockDim.x / 32) + threadIdx.x / 32;
  if (output >= outputs) return;  // whole warps
  const int* fours = reinterpret_cast<const int*>(w + output * terms);
  int sum = 0;
  for (index_t i = threadIdx.x % 32; i < terms / FOUR; i += 32) sum = __dp4a(fours[i], ONES, sum);
  sum = over_warp(sum, Sum());
  if (threadIdx.x % 32 == 0) sums[output] = sum;
}
