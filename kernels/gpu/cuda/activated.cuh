// What an operator applies to its result before storing it. NaN stays NaN.
#pragma once
#include "common.cuh"

enum Activation { NONE, RELU, RELU6 };

__device__ COMPUTE activated(COMPUTE y, int activation) {
  if (activation == NONE) return y;
  y = y > 0 || y != y ? y : 0;
  return activation == RELU6 && y > 6 ? (COMPUTE)6 : y;
}
