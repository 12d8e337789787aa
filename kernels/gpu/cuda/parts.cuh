// Long sums are computed in parts that lie one behind the other in scratch, then added in their order.
#pragma once
#include "activated.cuh"

// y (…, columns) = activation(Σ parts + bias). Bound by memory.
KERNEL summed(SCALAR* y, const COMPUTE* partial, const SCALAR* bias, int parts, int columns, int has_bias, int activation,
              index_t count) {
  FOR_EACH(i, count) {
    COMPUTE sum = partial[i];
    for (int part = 1; part < parts; part++) sum += partial[part * count + i];
    if (has_bias) sum += loaded(bias, i % columns);
    stored(y, i, activated(sum, activation));
  }
}
