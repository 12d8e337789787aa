// The activation that an operator applies to its result. NaN stays NaN.
#pragma once
#include "common.cuh"

enum FusedActivation { NO_ACTIVATION, FUSED_RELU, FUSED_RELU6 };

__device__ COMPUTE after_activation(COMPUTE y, int activation) {
  if (activation == NO_ACTIVATION) return y;
  y = y > 0 || y != y ? y : 0;
  return activation == FUSED_RELU6 && y > 6 ? (COMPUTE)6 : y;
}

// Whether a gradient passes where the result, or what the activation was applied to, is y.
__device__ bool passes(COMPUTE y, int activation) {
  return activation == NO_ACTIVATION || (y > 0 && (activation != FUSED_RELU6 || y < 6));
}
