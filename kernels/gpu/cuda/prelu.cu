// ReLU with a learned slope per channel.
#include "sums.cuh"

KERNEL prelu(SCALAR* y_, const SCALAR* x_, const SCALAR* slope, int channels, index_t count) {
  FOR_EACH(i, count) {
    const COMPUTE x = loaded(x_, i);
    stored(y_, i, x > 0 ? x : (COMPUTE)(loaded(slope, i % channels) * x));
  }
}

// dx at one place; returns its term of the sum of dy · x over the elements that the slope was for: one pass makes both.
__device__ COMPUTE slope_term(SCALAR* dx, const SCALAR* dy_, const SCALAR* x_, const SCALAR* slope, index_t at,
                              index_t channel) {
  const COMPUTE dy = loaded(dy_, at), x = loaded(x_, at);
  stored(dx, at, x > 0 ? dy : (COMPUTE)(loaded(slope, channel) * dy));
  return x > 0 ? 0 : dy * x;
}

KERNEL prelu_grad_columns(COMPUTE* parts, SCALAR* dx, const SCALAR* dy, const SCALAR* x, const SCALAR* slope,
                          Reduction of) {
  const auto term = [=](index_t at, index_t channel) { return slope_term(dx, dy, x, slope, at, channel); };
  reduce_columns(parts, of, term, Sum());
}

// Of a single channel.
KERNEL prelu_grad_rows(COMPUTE* parts, SCALAR* dx, const SCALAR* dy, const SCALAR* x, const SCALAR* slope,
                       Reduction of) {
  const auto term = [=](index_t at, index_t channel) { return slope_term(dx, dy, x, slope, at, channel); };
  reduce_rows(parts, of, term, Sum());
}

KERNEL slope_grad(SCALAR* dslope, const COMPUTE* parts, index_t results, int chunks) {
  reduce_parts(dslope, parts, results, chunks, Sum(), [](COMPUTE total) { return total; });
}
