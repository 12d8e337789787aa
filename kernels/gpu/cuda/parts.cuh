// Long sums are computed in parts that lie one behind the other in scratch, then added in their order.
#pragma once
#include "activated.cuh"

// y (…, columns) = activation(Σ parts + bias). Bound by memory.
template <class Result>
__device__ void add_parts(Result* y, const COMPUTE* partial, const void* biases, int parts, int columns, int has_bias,
                          int activation, index_t count) {
  const SCALAR* bias = (const SCALAR*)biases;
  FOR_EACH(i, count) {
    COMPUTE sum = partial[i];
    for (int part = 1; part < parts; part++) sum += partial[part * count + i];
    if (has_bias) sum += loaded(bias, i % columns);
    stored(y, i, activated(sum, activation));
  }
}

KERNEL summed(SCALAR* y, const COMPUTE* partial, const void* bias, int parts, int columns, int has_bias, int activation,
              index_t count) {
  add_parts(y, partial, bias, parts, columns, has_bias, activation, count);
}
// A result of factors of 16 bits that is not rounded to them.
KERNEL summed_unrounded(COMPUTE* y, const COMPUTE* partial, const void* bias, int parts, int columns, int has_bias,
                        int activation, index_t count) {
  add_parts(y, partial, bias, parts, columns, has_bias, activation, count);
}
