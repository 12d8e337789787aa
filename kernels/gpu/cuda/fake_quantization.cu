// Rounding to the numbers that stored integers can mean, and the gradients that pass through it. Scales and zero points
// are arrays of one number per channel: element i belongs to channel i / inner % channels.
#include "sums.cuh"

struct Channels {
  index_t inner, channels;
};

struct Steps {
  COMPUTE exact, rounded, limited;
};

__device__ index_t channel_of(index_t i, Channels of) {
  if (of.channels == 1) return 0;
  return i <= 0xFFFFFFFFll ? (unsigned)i / (unsigned)of.inner % (unsigned)of.channels : i / of.inner % of.channels;
}

__device__ Steps steps_of(COMPUTE x, COMPUTE scale, int zero_point, int low, int high) {
  const COMPUTE exact = x / scale, rounded = rint(exact);
  const COMPUTE least = low - zero_point, most = high - zero_point;
  return {exact, rounded, rounded < least ? least : rounded > most ? most : rounded};
}

KERNEL fake_quantize(SCALAR* y, const SCALAR* x, const SCALAR* scale_, const int* zero_point, int low, int high,
                     Channels of, index_t count) {
  FOR_EACH(i, count) {
    const index_t c = channel_of(i, of);
    const COMPUTE scale = loaded(scale_, c);
    stored(y, i, (COMPUTE)(steps_of(loaded(x, i), scale, zero_point[c], low, high).limited * scale));
  }
}

KERNEL fake_quantize_grad(SCALAR* dx, const SCALAR* dy, const SCALAR* x, const SCALAR* scale, const int* zero_point,
                          int low, int high, Channels of, index_t count) {
  FOR_EACH(i, count) {
    const index_t c = channel_of(i, of);
    const Steps steps = steps_of(loaded(x, i), loaded(scale, c), zero_point[c], low, high);
    stored(dx, i, steps.rounded == steps.limited ? loaded(dy, i) : (COMPUTE)0);
  }
}

// dx at one place; returns its term of dscale, so that one pass makes both.
__device__ COMPUTE learned_term(SCALAR* dx, const SCALAR* dy_, const SCALAR* x, const SCALAR* scale,
                                const int* zero_point, int low, int high, index_t at, index_t channel) {
  const Steps steps = steps_of(loaded(x, at), loaded(scale, channel), zero_point[channel], low, high);
  const bool inside = steps.rounded == steps.limited;
  const COMPUTE dy = loaded(dy_, at);
  stored(dx, at, inside ? dy : (COMPUTE)0);
  return dy * (inside ? steps.limited - steps.exact : steps.limited);
}

KERNEL learned_columns(COMPUTE* parts, SCALAR* dx, const SCALAR* dy, const SCALAR* x, const SCALAR* scale,
                       const int* zero_point, int low, int high, Reduction of) {
  reduce_columns(parts, of, [=](index_t at, index_t channel) {
    return learned_term(dx, dy, x, scale, zero_point, low, high, at, channel);
  }, Sum());
}

KERNEL learned_rows(COMPUTE* parts, SCALAR* dx, const SCALAR* dy, const SCALAR* x, const SCALAR* scale,
                    const int* zero_point, int low, int high, Reduction of) {
  reduce_rows(parts, of, [=](index_t at, index_t channel) {
    return learned_term(dx, dy, x, scale, zero_point, low, high, at, channel);
  }, Sum());
}

KERNEL learned_parts(SCALAR* dscale, const COMPUTE* parts, index_t results, int chunks, COMPUTE slope) {
  reduce_parts(dscale, parts, results, chunks, Sum(), [=](COMPUTE total) { return total * slope; });
}

KERNEL largest_columns(COMPUTE* parts, const SCALAR* x, Reduction of) {
  reduce_columns(parts, of, [=](index_t at, index_t) { return (COMPUTE)fabs(loaded(x, at)); }, Largest());
}

KERNEL largest_rows(COMPUTE* parts, const SCALAR* x, Reduction of) {
  reduce_rows(parts, of, [=](index_t at, index_t) { return (COMPUTE)fabs(loaded(x, at)); }, Largest());
}

KERNEL largest_parts(SCALAR* scale, const COMPUTE* parts, index_t results, int chunks, COMPUTE high) {
  reduce_parts(scale, parts, results, chunks, Largest(),
               [=](COMPUTE largest) { return (largest > 0 ? largest : 1) / high; });
}
