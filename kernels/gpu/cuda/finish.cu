// What a convolution or dense layer adds to its product, where a library made the product. Bound by memory.
#include "activated.cuh"

// y (…, columns) = activation(y + bias + residual), in place.
KERNEL finished(SCALAR* y, const SCALAR* bias, const SCALAR* residual, int columns, int has_bias, int has_residual,
                int activation, index_t count) {
  FOR_EACH(i, count) {
    COMPUTE sum = loaded(y, i);
    if (has_bias) sum += loaded(bias, i % columns);
    if (has_residual) sum += loaded(residual, i);
    stored(y, i, activated(sum, activation));
  }
}
