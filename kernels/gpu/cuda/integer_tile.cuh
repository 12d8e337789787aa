// A tile of a product of stored numbers, 8 or 16 bits wide, with weights of 8: result (row, column) is the sum of
// (seen - zero) · weight, exact in Total. 64 × 64 by 256 threads of 4 × 4 results.
//
// Four neighbouring channels are multiplied at once (dp4a, and dp2a for numbers of 16 bits): a term is four channels of
// a tap, the last ones of a tap filled up with weights of 0. 16 terms at a time lie in shared memory; the next ones are
// on their way to registers while these are multiplied. What lies outside of the image is `zero`, so that zero times
// the sum of a column's weights can be taken off at the end.
#pragma once
#include "patches.cuh"
#include "rescaling.cuh"

#define LINES 64
#define TERMS 16
#define ACROSS 16  // threads of a block along each side of its tile
#define SIDE (LINES / ACROSS)
#define FOUR 4

template <class T>
struct alignas(FOUR * sizeof(T)) Numbers {
  T of[FOUR];
};

// Four numbers as the instructions take them.
template <class T>
struct Registers;
template <>
struct Registers<signed char> {
  typedef int Type;
};
template <>
struct Registers<short> {
  typedef int2 Type;
};
typedef typename Registers<SCALAR>::Type Seen;
constexpr bool WIDE_SUMS = sizeof(Total) > sizeof(int);

__device__ int add_products(int seen, int weights, int sum) { return __dp4a(seen, weights, sum); }
__device__ int add_products(int2 seen, int weights, int sum) {
  return __dp2a_hi(seen.y, weights, __dp2a_lo(seen.x, weights, sum));
}
#define ONES 0x01010101

// Four numbers from an address on, of which `count` exist; `whole` where they can be read at once.
template <class R, class T>
__device__ R four_at(const T* address, int count, bool whole) {
  if (whole) return *reinterpret_cast<const R*>(address);
  Numbers<T> numbers;
#pragma unroll
  for (int i = 0; i < FOUR; i++) numbers.of[i] = i < count ? address[i] : (T)0;
  return *reinterpret_cast<const R*>(&numbers);
}

// The left operand: what pixels see of an image. `patches` count channels in fours.
struct SeenPixels {
  const Patches& patches;
  int channels;
  bool whole;
  Seen outside;

  __device__ SeenPixels(const Patches& patches, int channels, int zero) : patches(patches), channels(channels) {
    whole = channels % FOUR == 0 && patches.stride % FOUR == 0 && (size_t)patches.image % sizeof(Seen) == 0;
    Numbers<SCALAR> numbers;
#pragma unroll
    for (int i = 0; i < FOUR; i++) numbers.of[i] = (SCALAR)zero;
    outside = *reinterpret_cast<const Seen*>(&numbers);
  }
  __device__ Pixel line(int number) const { return patches.pixel(number); }
  __device__ Tap term(int number) const {
    Tap tap = patches.tap(number);
    tap.channel *= FOUR;
    return tap;
  }
  __device__ Seen at(const Pixel& pixel, const Tap& tap) const {
    const SCALAR* address = patches.at(pixel, tap);
    return address ? four_at<Seen>(address, channels - tap.channel, whole) : outside;
  }
};

// The right operand: weights (line, tap, channel), of which only the taps of `patches` belong to the product.
struct TapWeights {
  const signed char* start;
  int lines, width;  // of the whole kernel
  index_t line_step;
  int channels;
  const Patches& patches;
  bool whole;

  __device__ TapWeights(const signed char* start, int lines, int width, index_t line_step, int channels,
                        const Patches& patches)
      : start(start), lines(lines), width(width), line_step(line_step), channels(channels), patches(patches),
        whole(channels % FOUR == 0 && (size_t)start % FOUR == 0) {}
  __device__ int at(int line, int term) const {
    if (line >= lines || term >= patches.terms()) return 0;
    const int t = patches.by_channels.quotient(term), first = (term - t * (int)patches.by_channels.divisor) * FOUR;
    const int i = patches.by_taps.quotient(t), j = t - i * (int)patches.by_taps.divisor;
    const int row = patches.vertical.first_tap + i * patches.vertical.tap_step;
    const int column = patches.horizontal.first_tap + j * patches.horizontal.tap_step;
    const signed char* address = start + line * line_step + (index_t)(row * width + column) * channels + first;
    return four_at<int>(address, channels - first, whole);
  }
};

struct alignas(16) FourWeights {
  int of[FOUR];
};
struct alignas(16) FourSeen {
  Seen of[FOUR];
};

// A template, so that the emulation keeps the shared memory of both types apart.
template <class T>
struct IntegerTile {
  Total sums[SIDE][SIDE];

  __device__ void multiply(const SeenPixels& seen, const TapWeights& weights, int row, int column, int zero) {
    // The one more keeps threads that write one line off the same bank.
    __shared__ FourSeen lefts[TERMS][LINES / FOUR + 1];
    __shared__ FourWeights rights[TERMS][LINES / FOUR + 1];
    __shared__ int weight_sums[LINES];
    const int terms = seen.patches.terms(), own_term = threadIdx.x % TERMS, own_line = threadIdx.x / TERMS;
    const int down = threadIdx.x / ACROSS, across = threadIdx.x % ACROSS;
    Pixel pixels[SIDE];
    Seen from_left[SIDE];
    int from_right[SIDE], of_weights[SIDE], part[SIDE][SIDE];
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
      pixels[i] = seen.line(row + own_line + i * ACROSS);
      of_weights[i] = 0;
#pragma unroll
      for (int j = 0; j < SIDE; j++) {
        sums[i][j] = 0;
        part[i][j] = 0;
      }
    }
    const auto fetch = [&](int term) {
      const Tap tap = seen.term(term);
#pragma unroll
      for (int i = 0; i < SIDE; i++) {
        from_left[i] = seen.at(pixels[i], tap);
        from_right[i] = weights.at(column + own_line + i * ACROSS, term);
      }
    };
    fetch(own_term);
    for (int term = 0; term < terms; term += TERMS) {
#pragma unroll
      for (int i = 0; i < SIDE; i++) {
        const int line = own_line + i * ACROSS;
        lefts[own_term][line / FOUR].of[line % FOUR] = from_left[i];
        rights[own_term][line / FOUR].of[line % FOUR] = from_right[i];
        of_weights[i] = __dp4a(from_right[i], ONES, of_weights[i]);
      }
      __syncthreads();
      if (term + TERMS < terms) fetch(term + TERMS + own_term);
#pragma unroll
      for (int t = 0; t < TERMS; t++) {
        const FourSeen a = lefts[t][down];
        const FourWeights b = rights[t][across];
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
          for (int j = 0; j < SIDE; j++) part[i][j] = add_products(a.of[i], b.of[j], part[i][j]);
      }
      if (WIDE_SUMS) {  // 64 products of 22 bits at most
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
          for (int j = 0; j < SIDE; j++) {
            sums[i][j] += part[i][j];
            part[i][j] = 0;
          }
      }
      __syncthreads();
    }
    // The threads that carried the terms of a line are neighbours.
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
      for (int distance = TERMS / 2; distance; distance /= 2)
        of_weights[i] += __shfl_xor_sync(0xFFFFFFFFu, of_weights[i], distance);
      if (own_term == 0) weight_sums[own_line + i * ACROSS] = of_weights[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SIDE; i++)
#pragma unroll
      for (int j = 0; j < SIDE; j++)
        sums[i][j] += part[i][j] - (Total)zero * weight_sums[across * FOUR + j];
  }

  // Store what lies inside the result; `place(row)` is where a row of it starts, from the first column on.
  template <class Place>
  __device__ void store(int first_row, int first_column, int rows, int columns, SCALAR* y, const int* bias,
                        int bias_words, const int* factors, const Storing& storing, Place place) {
    const int column = first_column + threadIdx.x % ACROSS * FOUR;
    if (column >= columns) return;
    Factor factor[SIDE];
    Total start[SIDE];
#pragma unroll
    for (int j = 0; j < SIDE; j++) {
      const int own = min(column + j, columns - 1);
      factor[j] = factor_of(factors, own);
      start[j] = bias_of(bias, bias_words, own);
    }
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
      const int row = first_row + threadIdx.x / ACROSS * FOUR + i;
      if (row >= rows) continue;
      SCALAR* to = y + place(row) + column;
      Numbers<SCALAR> numbers;
#pragma unroll
      for (int j = 0; j < SIDE; j++)
        numbers.of[j] = (SCALAR)stored_number((Total)(sums[i][j] + start[j]), factor[j], storing);
      if (column + FOUR <= columns && (size_t)to % sizeof(numbers) == 0) {
        *reinterpret_cast<Numbers<SCALAR>*>(to) = numbers;
        continue;
      }
#pragma unroll
      for (int j = 0; j < SIDE; j++)
        if (column + j < columns) to[j] = numbers.of[j];
    }
  }
};

// Which tile a block makes, of which of several products. Blocks that share rows are neighbours.
struct Tile {
  int row, column, product;
};
__device__ Tile tile_of_block(int rows, int columns) {
  const unsigned across = (columns + LINES - 1) / LINES, down = (rows + LINES - 1) / LINES;
  const unsigned line = blockIdx.x / across;
  return {(int)(line % down) * LINES, (int)(blockIdx.x % across) * LINES, (int)(line / down)};
}
