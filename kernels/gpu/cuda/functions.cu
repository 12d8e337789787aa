// Functions of numbers: rounding, trigonometry, powers and remainders. Whole numbers are rounded already.
#include "broadcast.cuh"

UNARY(apply_floor, FRACTIONS ? (COMPUTE)floor(real(x)) : x)
UNARY(apply_ceil, FRACTIONS ? (COMPUTE)ceil(real(x)) : x)
UNARY(apply_round, FRACTIONS ? (COMPUTE)rint(real(x)) : x)
UNARY(apply_sign, x != x ? x : (x > 0) - (x < 0))
UNARY(apply_erf, erf(real(x)))
UNARY(apply_sin, sin(real(x)))
UNARY(apply_cos, cos(real(x)))
UNARY(apply_tan, tan(real(x)))
UNARY(apply_arcsin, asin(real(x)))
UNARY(apply_arccos, acos(real(x)))
UNARY(apply_arctan, atan(real(x)))
UNARY(apply_sinh, sinh(real(x)))
UNARY(apply_cosh, cosh(real(x)))
UNARY(apply_arcsinh, asinh(real(x)))
UNARY(apply_arccosh, acosh(real(x)))
UNARY(apply_arctanh, atanh(real(x)))

__device__ float power_of_numbers(float a, float b) { return powf(a, b); }
template <class T>
__device__ double power_of_numbers(T a, T b) { return pow((double)a, (double)b); }

// What C leaves of a / b has the sign of a; the other kind has that of b, as in Python. Of a division by a whole 0 it
// is 0.
__device__ float remainder_of(float a, float b) { return fmodf(a, b); }
__device__ double remainder_of(double a, double b) { return fmod(a, b); }
template <class T>
__device__ T remainder_of(T a, T b) { return b == 0 || b == (T)-1 ? 0 : a % b; }

__device__ COMPUTE floored_remainder(COMPUTE a, COMPUTE b) {
  const COMPUTE rest = remainder_of(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

BROADCAST(raised, SCALAR, COMPUTE, power_of_numbers(a, b))
BROADCAST(modulo, SCALAR, COMPUTE, p ? remainder_of(a, b) : floored_remainder(a, b))
