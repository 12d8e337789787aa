// What optimizers do to one weight: they change its states and return the new weight. Filled by kernels/gpu/rules.py.
#pragma once
#include "common.cuh"

struct SgdNumbers {
  COMPUTE momentum, decay, nesterov;
};

struct Sgd {
  static constexpr int STATES = 1;
  SgdNumbers n;
  COMPUTE rate;
  __device__ Sgd(SgdNumbers numbers, COMPUTE rate) : n(numbers), rate(rate) {}
  __device__ COMPUTE operator()(COMPUTE weight, COMPUTE gradient, COMPUTE* state) const {
    const COMPUTE d = gradient + n.decay * weight;
    state[0] = n.momentum * state[0] + d;
    return weight - rate * (n.nesterov > 0 ? d + n.momentum * state[0] : state[0]);
  }
};

// `change1` is 1 - β₁, rounded once, and `log1` the logarithm of β₁.
struct AdamNumbers {
  COMPUTE keep1, change1, log1, keep2, change2, log2, epsilon, decay, decoupled;
};

struct Adam {
  static constexpr int STATES = 2;
  AdamNumbers n;
  COMPUTE shrink, rate, correction;
  // 1 - βᵗ without cancellation.
  __device__ Adam(AdamNumbers numbers, COMPUTE rate_, index_t step)
      : n(numbers),
        shrink(1 - rate_ * numbers.decoupled),
        rate(rate_ / -expm1((COMPUTE)step * numbers.log1)),
        correction(1 / sqrt(-expm1((COMPUTE)step * numbers.log2))) {}
  __device__ COMPUTE operator()(COMPUTE weight, COMPUTE gradient, COMPUTE* state) const {
    const COMPUTE d = gradient + n.decay * weight;
    state[0] = n.keep1 * state[0] + n.change1 * d;
    state[1] = n.keep2 * state[1] + n.change2 * d * d;
    return shrink * weight - rate * state[0] / (correction * sqrt(state[1]) + n.epsilon);
  }
};

struct RmspropNumbers {
  COMPUTE keep, change, epsilon, momentum, decay;
};

struct Rmsprop {
  static constexpr int STATES = 2;
  RmspropNumbers n;
  COMPUTE rate;
  __device__ Rmsprop(RmspropNumbers numbers, COMPUTE rate) : n(numbers), rate(rate) {}
  __device__ COMPUTE operator()(COMPUTE weight, COMPUTE gradient, COMPUTE* state) const {
    const COMPUTE d = gradient + n.decay * weight;
    state[0] = n.keep * state[0] + n.change * d * d;
    state[1] = n.momentum * state[1] + d / (sqrt(state[0]) + n.epsilon);
    return weight - rate * state[1];
  }
};
