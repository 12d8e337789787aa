// Activation functions element by element. NaN stays NaN. Of a gradient, a is dy and b is x or y.
#include "elementwise.cuh"

#define ROOT_HALF ((COMPUTE)0.70710678118654752440)
#define BELL ((COMPUTE)0.39894228040143267794)
#define GELU_SCALE ((COMPUTE)0.79788456080286535588)
#define GELU_CUBE ((COMPUTE)0.044715)

// 1 / (1 + e⁻ˣ) without overflow.
__device__ COMPUTE logistic(COMPUTE x) {
  const COMPUTE e = exp(x > 0 ? -x : x);
  return (x >= 0 ? 1 : e) / (1 + e);
}

__device__ COMPUTE hard_gate(COMPUTE x) {
  const COMPUTE gate = x * ((COMPUTE)1 / 6) + (COMPUTE)0.5;
  return gate < 0 ? 0 : gate > 1 ? 1 : gate;
}

__device__ COMPUTE gelu_bend(COMPUTE x) { return tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x)); }

__device__ COMPUTE silu_slope(COMPUTE x) {
  const COMPUTE s = logistic(x);
  return s * (1 + x * (1 - s));
}

__device__ COMPUTE gelu_slope(COMPUTE x) {
  return erfc(-x * ROOT_HALF) / 2 + x * BELL * exp(-x * x / 2);
}

__device__ COMPUTE gelu_tanh_slope(COMPUTE x) {
  const COMPUTE t = gelu_bend(x);
  return (1 + t) / 2 + x / 2 * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x);
}

UNARY(relu, x > 0 || x != x ? x : 0)
UNARY(relu6, x > 0 || x != x ? (x > 6 ? 6 : x) : 0)
BINARY(relu_grad, b > 0 ? a : 0)
BINARY(relu6_grad, b > 0 && b < 6 ? a : 0)
UNARY(leaky_relu, x > 0 ? x : p * x)
BINARY(leaky_relu_grad, b > 0 ? a : p * a)
UNARY(sigmoid, logistic(x))
BINARY(sigmoid_grad, a * b * (1 - b))
UNARY(hard_sigmoid, hard_gate(x))
BINARY(hard_sigmoid_grad, b > -3 && b < 3 ? a / 6 : 0)
UNARY(hyperbolic_tangent, tanh(x))
BINARY(hyperbolic_tangent_grad, a * (1 - b * b))
UNARY(hard_swish, x * hard_gate(x))
BINARY(hard_swish_grad, b <= -3 ? a * 0 : b >= 3 ? a : a * (b / 3 + (COMPUTE)0.5))
UNARY(silu, x * logistic(x))
BINARY(silu_grad, a * silu_slope(b))
// The complement does not cancel where x is far below 0.
UNARY(gelu, x / 2 * erfc(-x * ROOT_HALF))
BINARY(gelu_grad, a * gelu_slope(b))
UNARY(gelu_tanh, x / 2 * (1 + gelu_bend(x)))
BINARY(gelu_tanh_grad, a * gelu_tanh_slope(b))
