// Softmax of stored numbers along the last axis by tables of powers, a warp for each row, which comes from the cache
// after its first reading. The output may be the input: a thread writes only what it alone still reads.
#include "block.cuh"
#include "rescaling.cuh"

// x / 2^exponent, halves away from zero, for numbers and exponents of any size.
__device__ long long divided_long(long long x, int exponent) {
  const long long mask = (1ll << exponent) - 1;
  return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0 ? 1 : 0) ? 1 : 0);
}

// 1 / (1 + x), with 31 binary places, of x in [0, 1) with 31 of them (edge_sdk/quantization/fixed_point.py).
__device__ int reciprocal(long long x) {
  const int half = (int)((x + 0x80000000ll) >> 1);
  int guess = 1515870810 + high_product(half, -1010580540);
  for (int step = 0; step < 3; step++) {
    const int missing = (1 << 29) - high_product(half, guess);
    guess += (int)((long long)high_product(guess, missing) << 2);
  }
  const long long twice = (long long)guess << 1;
  return twice > 0x7FFFFFFFll ? 0x7FFFFFFF : (int)twice;
}

// The row of a warp, which may be beyond the last one.
__device__ index_t row_of_warp() { return blockIdx.x * (index_t)(blockDim.x / 32) + threadIdx.x / 32; }

__device__ int largest_of(const SCALAR* x, int columns) {
  int largest = -32768;  // not x[0], which in place is overwritten by a lane that does not wait for the others
  for (int c = threadIdx.x % 32; c < columns; c += 32) largest = max(largest, (int)x[c]);
  return over_warp(largest, Largest());
}

// Powers are float32, and so is their sum, one after the other from the first to the last.
KERNEL softmax(SCALAR* y_, const SCALAR* x_, const float* powers, int columns, index_t rows) {
  const index_t row = row_of_warp();
  if (row >= rows) return;  // whole warps
  const SCALAR* x = x_ + row * columns;
  SCALAR* y = y_ + row * columns;
  const int largest = largest_of(x, columns), lane = threadIdx.x % 32;
  float total = 0;
  for (int first = 0; first < columns; first += 32) {
    const float power = first + lane < columns ? powers[largest - x[first + lane]] : 0.0f;
    for (int i = 0; i < 32; i++) total = __fadd_rn(total, __shfl_sync(ALL_LANES, power, i));
  }
  const float factor = __fdiv_rn(1.0f, __fmul_rn(total, 1.0f / 256));
  for (int c = lane; c < columns; c += 32) {
    const float rounded = floorf(__fadd_rn(__fmul_rn(powers[largest - x[c]], factor), 0.5f));
    y[c] = (SCALAR)min((int)rounded - 128, 127);
  }
}

// Powers have 31 binary places, their sum has 19.
KERNEL fixed_softmax(SCALAR* y_, const SCALAR* x_, const int* powers, int columns, index_t rows) {
  const index_t row = row_of_warp();
  if (row >= rows) return;
  const SCALAR* x = x_ + row * columns;
  SCALAR* y = y_ + row * columns;
  const int largest = largest_of(x, columns), lane = threadIdx.x % 32;
  long long total = 0;
  for (int c = lane; c < columns; c += 32) total += divided(powers[largest - x[c]], 12);
  total = over_warp(total, Sum());
  const int headroom = __clzll(total) - 32;
  const int scale = reciprocal((total << headroom) - (1ll << 31));
  for (int c = lane; c < columns; c += 32) {
    const long long share = divided_long(high_product(scale, powers[largest - x[c]]), 35 - headroom);
    y[c] = (SCALAR)min(max(share - 128, -128ll), 127ll);
  }
}

// Powers and the points of 1 / (1 + x) have 15 binary places (edge_sdk/quantization/wide_tables.py).
KERNEL wide_softmax(SCALAR* y_, const SCALAR* x_, const short* powers, const short* reciprocals, int columns,
                    index_t rows) {
  const index_t row = row_of_warp();
  if (row >= rows) return;
  const SCALAR* x = x_ + row * columns;
  SCALAR* y = y_ + row * columns;
  const int largest = largest_of(x, columns), lane = threadIdx.x % 32;
  long long total = 0;
  for (int c = lane; c < columns; c += 32) total += powers[largest - x[c]];
  total = over_warp(total, Sum());
  const int headroom = __clzll(total) - 32;
  const long long wanted = (((total << (headroom - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
  const int above = (int)min(max(wanted, -32768ll), 32767ll);
  const int place = (above >> 7) + 256, rest = above & 127, base = reciprocals[place];
  const int inverse = base + (((reciprocals[place + 1] - base) * rest + 64) >> 7);
  const int shift = 31 - headroom;
  for (int c = lane; c < columns; c += 32) {
    const long long share = ((long long)powers[largest - x[c]] * inverse + (1ll << (shift - 1))) >> shift;
    y[c] = (SCALAR)min(max(share, 0ll), 32767ll);
  }
}
