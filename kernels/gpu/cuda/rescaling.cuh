// How sums of stored numbers become numbers that are stored: edge_sdk/quantization/arithmetic.py, bit for bit.
//
// Real numbers are multiplied and added by functions that no compiler fuses into one rounding.
#pragma once
#include "common.cuh"

// In what sums of stored numbers are exact.
template <class T>
struct Exact;
template <>
struct Exact<signed char> {
  typedef int Sum;
};
template <>
struct Exact<unsigned char> {
  typedef int Sum;
};
template <>
struct Exact<short> {
  typedef long long Sum;
};
typedef typename Exact<SCALAR>::Sum Total;

// The factor of a channel, filled by kernels/gpu/integer_rescaling.py:
//   SINGLE   the bits of a float and of a float summand; halves to even
//   DOUBLE   the lower and upper half of a double; halves away from zero
//   FIXED    multiplier, left shift, right shift, whether halves go away from zero
//   LONG     multiplier of 15 bits, right shift; halves upwards
struct alignas(16) Factor {
  int of[4];
};
enum Form { SINGLE, DOUBLE, FIXED, LONG };

// clip(round(sum · factor) + zero, low, high)
struct Storing {
  int form, zero, low, high;
};

__device__ Factor factor_of(const int* factors, int channel) {
  return reinterpret_cast<const Factor*>(factors)[channel];
}

// a · b / 2^31, halves upwards; -1 · -1 is the largest number.
__device__ int high_product(int a, int b) {
  const long long product = ((long long)a * b + (1ll << 30)) >> 31;
  return product > 0x7FFFFFFFll ? 0x7FFFFFFF : (int)product;
}

// x / 2^exponent for exponents to 31, halves away from zero, or upwards.
__device__ int divided(int x, int exponent, int away = 1) {
  const unsigned mask = (1u << exponent) - 1u, half = (mask >> 1) + (x < 0 && away ? 1u : 0u);
  return (x >> exponent) + (((unsigned)x & mask) > half ? 1 : 0);
}

// The product with a FIXED factor, rounded twice.
__device__ int fixed_product(long long total, const Factor& factor) {
  return divided(high_product((int)(total << factor.of[1]), factor.of[0]), factor.of[2], factor.of[3]);
}

__device__ int between(int x, int low, int high) { return min(max(x, low), high); }

template <class T>
__device__ int stored_number(T total, const Factor& factor, const Storing& storing) {
  const int low = storing.low - storing.zero, high = storing.high - storing.zero;
  int value;
  if (storing.form == FIXED) {
    value = fixed_product(total, factor);
  } else if (storing.form == SINGLE) {
    const float product = __fmul_rn((float)total, __int_as_float(factor.of[0]));
    const float whole = rintf(__fadd_rn(product, __int_as_float(factor.of[1])));
    value = (int)fminf(fmaxf(whole, (float)low), (float)high);
  } else if (storing.form == DOUBLE) {
    const double product = __dmul_rn((double)total, __hiloint2double(factor.of[1], factor.of[0]));
    const double whole = trunc(product), rest = product - whole;
    const double rounded = whole + (rest >= 0.5) - (rest <= -0.5);
    value = (int)fmin(fmax(rounded, (double)low), (double)high);
  } else {
    value = (int)(((long long)total * factor.of[0] + (1ll << (factor.of[1] - 1))) >> factor.of[1]);
  }
  return between(value, low, high) + storing.zero;
}

// A bias of 32 bits, or of 64 where that takes two words; without one there are none.
__device__ Total bias_of(const int* bias, int words, int channel) {
  if (words == 0) return 0;
  return words == 1 ? (Total)bias[channel] : (Total)reinterpret_cast<const long long*>(bias)[channel];
}
