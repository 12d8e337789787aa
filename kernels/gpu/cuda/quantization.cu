// The borders between real numbers and their stored integers, which are SCALAR.
#include "common.cuh"

enum Rounding { EVEN, VECTORS, AWAY };

__device__ float away_from_zero(float quotient) {
  const float whole = truncf(quotient), rest = quotient - whole;
  return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

__device__ float away_from_zero(double quotient) {
  const double whole = trunc(quotient), rest = quotient - whole;
  return (float)(whole + (rest >= 0.5) - (rest <= -0.5));
}

// Products are rounded before anything is added to them: a fused one would move numbers at the borders. With VECTORS
// the first `whole` numbers are multiplied, and those that are left divided in float64.
KERNEL quantize(SCALAR* y, const float* x, int rounding, float scale, float inverse, index_t whole, int zero_point,
                int low, int high, index_t count) {
  FOR_EACH(i, count) {
    float steps;
    if (rounding == EVEN) {
      steps = rintf(__fmul_rn(x[i], inverse));
    } else if (rounding == AWAY) {
      steps = away_from_zero(x[i] / scale);
    } else if (i < whole) {
      const float scaled = __fmul_rn(x[i], inverse);
      steps = truncf(scaled + (scaled >= 0 ? 0.5f : -0.5f));
    } else {
      steps = away_from_zero((double)x[i] / scale);
    }
    steps += zero_point;
    stored(y, i, (COMPUTE)(steps < low ? low : steps > high ? high : steps));
  }
}

KERNEL dequantize(float* y, const SCALAR* x, float scale, int zero_point, index_t count) {
  FOR_EACH(i, count) y[i] = scale * (loaded(x, i) - zero_point);
}
