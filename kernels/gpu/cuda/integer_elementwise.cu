// Sums and products of two tensors of stored numbers, element by element with NumPy's broadcasting, and PReLU. Bound by
// memory: four numbers are loaded and stored at once where shapes are equal and addresses allow it. The output may be
// one of the inputs.
#include "rescaling.cuh"
#include "strided.cuh"

#define FOUR 4

struct alignas(FOUR * sizeof(SCALAR)) Numbers {
  SCALAR of[FOUR];
};

__device__ bool starts_four(const SCALAR* address) { return (size_t)address % sizeof(Numbers) == 0; }

// y = function(a, b, place) of equal shapes.
template <class Function>
__device__ void map_equal(SCALAR* y, const SCALAR* a, const SCALAR* b, index_t count, Function function) {
  const index_t fours = starts_four(y) && starts_four(a) && starts_four(b) ? count / FOUR : 0;
  FOR_EACH(i, fours) {
    const Numbers left = reinterpret_cast<const Numbers*>(a)[i], right = reinterpret_cast<const Numbers*>(b)[i];
    Numbers numbers;
#pragma unroll
    for (int e = 0; e < FOUR; e++) numbers.of[e] = (SCALAR)function(left.of[e], right.of[e], FOUR * i + e);
    reinterpret_cast<Numbers*>(y)[i] = numbers;
  }
  FOR_EACH(i, count - FOUR * fours) {
    const index_t place = FOUR * fours + i;
    y[place] = (SCALAR)function(a[place], b[place], place);
  }
}

template <class Function>
__device__ void map_strided(SCALAR* y, const SCALAR* a, const SCALAR* b, const Strides& strides, index_t count,
                            Function function) {
  FOR_EACH(i, count) {
    const Offsets at = offsets_of(i, strides);
    y[i] = (SCALAR)function(a[at.a], b[at.b], i);
  }
}

// A kernel for equal shapes and one for strides; `expression` of a, b, their place and the rules.
#define STORED_PAIRS(name, Rules, expression)                                                                   \
  KERNEL name(SCALAR* y, const SCALAR* a_, const SCALAR* b_, Rules rules, index_t count) {                      \
    map_equal(y, a_, b_, count, [=](int a, int b, index_t place) { return expression; });                       \
  }                                                                                                             \
  KERNEL name##_broadcast(SCALAR* y, const SCALAR* a_, const SCALAR* b_, Rules rules, Strides strides,          \
                          index_t count) {                                                                      \
    map_strided(y, a_, b_, strides, count, [=](int a, int b, index_t place) { return expression; });            \
  }

// One sum in 32 bits (edge_sdk.quantization.arithmetic.Summation).
struct Summation {
  int of_a, of_b, bias, shift;
  Storing storing;
};
__device__ int summed(int a, int b, const Summation& s) {
  const int value = (s.bias + a * s.of_a + b * s.of_b) >> s.shift;
  return between(value + s.storing.zero, s.storing.low, s.storing.high);
}
STORED_PAIRS(sum, Summation, summed(a, b, rules))

// Both rescaled with more bits, added, and rescaled (FixedSummation). The first `whole` are refined as vectors are.
struct FixedSummation {
  Factor of_a, of_b, of_sum;
  int zero_a, zero_b, sign, bits;
  index_t whole;
  Storing storing;
};
__device__ int refined(int x, int bits, const Factor& factor) {
  const int shift = bits - factor.of[2];
  return high_product(shift > 0 ? x << shift : x >> -shift, factor.of[0]);
}
__device__ int fixed_sum_of(int a, int b, index_t place, const FixedSummation& s) {
  int left, right;
  if (place < s.whole) {
    left = refined(a, s.bits, s.of_a);
    right = refined(b, s.bits, s.of_b);
  } else {
    left = fixed_product((long long)(a - s.zero_a) << s.bits, s.of_a);
    right = fixed_product((long long)(b - s.zero_b) << s.bits, s.of_b);
  }
  return stored_number((long long)left + (long long)s.sign * right, s.of_sum, s.storing);
}
STORED_PAIRS(fixed_sum, FixedSummation, fixed_sum_of(a, b, place, rules))

struct Multiplication {
  Factor factor;
  int zero_a, zero_b;
  Storing storing;
};
STORED_PAIRS(multiply, Multiplication,
             stored_number((Total)(a - rules.zero_a) * (b - rules.zero_b), rules.factor, rules.storing))

STORED_PAIRS(maximum, int, a > b ? a : b)
STORED_PAIRS(minimum, int, a < b ? a : b)

// x · upper where that is not negative, else x · slope · lower (edge_sdk.quantization.arithmetic.Slopes).
struct Slopes {
  Factor upper, lower;
  int zero_x, zero_slope;
  Storing storing;
};
KERNEL prelu(SCALAR* y, const SCALAR* x, const SCALAR* slopes, Slopes rules, int channels, index_t count) {
  FOR_EACH(i, count) {
    const int real = x[i] - rules.zero_x;
    const int value = real >= 0 ? fixed_product(real, rules.upper)
                                : fixed_product(real * (slopes[i % channels] - rules.zero_slope), rules.lower);
    y[i] = (SCALAR)between(value + rules.storing.zero, rules.storing.low, rules.storing.high);
  }
}
