// Batch normalization of rows of channels, and local response normalization. All are bound by memory.
//
// What belongs to a channel, parameters, statistics and their gradients, is COMPUTE: float where rows are of 16 bits.
#include "activated.cuh"
#include "moments.cuh"

// Whether a gradient passes where the result, or what the activation was applied to, is y.
__device__ bool passes(COMPUTE y, int activation) {
  return activation == NONE || (y > 0 && (activation != RELU6 || y < 6));
}

#define WIDTHS(make) make(, 1) make(_4, 4)

__device__ COMPUTE inverse_deviation(COMPUTE variance, COMPUTE epsilon) {
  return 1 / (COMPUTE)sqrt((COMPUTE)(variance + epsilon));
}

// The one formula of a normalised number, so that what is computed again has the same bits.
__device__ COMPUTE normalised(COMPUTE x, COMPUTE mean, COMPUTE factor, COMPUTE offset) {
  return (x - mean) * factor + offset;
}

// What a thread knows of its W channels.
template <int W>
struct Channels {
  COMPUTE mean[W], factor[W], offset[W];
};

template <int W>
__device__ void normalise_rows(SCALAR* y_, const SCALAR* x_, const SCALAR* residual_, bool with_residual,
                               const Channels<W>& channel, int activation, index_t rows, int channels,
                               const Place& place) {
  Pack<SCALAR, W> numbers[ROWS_AT_ONCE], added[ROWS_AT_ONCE];
  const auto load = [&](int k, index_t row) {
    numbers[k] = pack_at<W>(x_, row * channels + place.c);
    if (with_residual) added[k] = pack_at<W>(residual_, row * channels + place.c);
  };
  for_all_rows(place, rows, load, [&](int k, index_t row) {
    COMPUTE y[W], residual[W];
    unpack<W>(y, numbers[k]);
    if (with_residual) unpack<W>(residual, added[k]);
#pragma unroll
    for (int i = 0; i < W; i++) {
      y[i] = normalised(y[i], channel.mean[i], channel.factor[i], channel.offset[i]);
      y[i] = activated(with_residual ? y[i] + residual[i] : y[i], activation);
    }
    store_pack<W>(y_, row * channels + place.c, y);
  });
}

// Inference: y may be x.
#define BATCH_NORM(suffix, W)                                                                                         \
  KERNEL batch_norm##suffix(SCALAR* y, const SCALAR* x, const COMPUTE* scale, const COMPUTE* offset,                  \
                            const COMPUTE* mean, const COMPUTE* variance, COMPUTE epsilon, int activation,            \
                            index_t rows, int channels, int lanes) {                                                  \
    const Place place = place_of<W>(lanes);                                                                           \
    if (place.c >= channels) return;                                                                                  \
    Channels<W> channel;                                                                                              \
    for (int i = 0; i < W; i++) {                                                                                     \
      const int c = place.c + i;                                                                                      \
      channel.mean[i] = mean[c];                                                                                      \
      channel.factor[i] = scale[c] / (COMPUTE)sqrt((COMPUTE)(variance[c] + epsilon));                                 \
      channel.offset[i] = offset[c];                                                                                  \
    }                                                                                                                 \
    normalise_rows<W>(y, x, x, false, channel, activation, rows, channels, place);                                    \
  }
WIDTHS(BATCH_NORM)

// Training: from the batch's mean and inverse deviation. Without a residual any array stands in its place.
#define NORMALISE(suffix, W)                                                                                          \
  KERNEL normalise##suffix(SCALAR* y, const SCALAR* x, const COMPUTE* scale, const COMPUTE* offset,                   \
                           const COMPUTE* mean, const COMPUTE* inverse, const SCALAR* residual, bool with_residual,   \
                           int activation, index_t rows, int channels, int lanes) {                                   \
    const Place place = place_of<W>(lanes);                                                                           \
    if (place.c >= channels) return;                                                                                  \
    Channels<W> channel;                                                                                              \
    for (int i = 0; i < W; i++) {                                                                                     \
      const int c = place.c + i;                                                                                      \
      channel.mean[i] = mean[c];                                                                                      \
      channel.factor[i] = scale[c] * inverse[c];                                                                      \
      channel.offset[i] = offset[c];                                                                                  \
    }                                                                                                                 \
    normalise_rows<W>(y, x, residual, with_residual, channel, activation, rows, channels, place);                     \
  }
WIDTHS(NORMALISE)

// The batch's statistics from their parts. New running values may lie where the old ones are.
KERNEL finish_statistics(COMPUTE* new_mean, COMPUTE* new_variance, COMPUTE* batch_mean, COMPUTE* inverse,
                         const COMPUTE* old_mean, const COMPUTE* old_variance, const COMPUTE* statistics,
                         COMPUTE momentum, COMPUTE epsilon, int parts, index_t rows, int channels, int lanes) {
  const Place place = place_of<1>(lanes);
  COMPUTE mean, squares, count;
  merge_parts(mean, squares, count, statistics, parts, channels, lanes, place);
  if (place.group || place.c >= channels) return;
  const int c = place.c;
  const COMPUTE variance = squares / count, free = rows > 1 ? rows - 1 : 1, unbiased = variance * rows / free;
  new_mean[c] = (1 - momentum) * old_mean[c] + momentum * mean;
  new_variance[c] = (1 - momentum) * old_variance[c] + momentum * unbiased;
  batch_mean[c] = mean;
  inverse[c] = inverse_deviation(variance, epsilon);
}

// What passes of dy: where y is given the activation's result decides, else its argument, computed again.
template <int W>
struct Slopes {
  const SCALAR *dy, *x, *y;
  int activation;
  bool with_y;
  Pack<SCALAR, W> slopes[ROWS_AT_ONCE], values[ROWS_AT_ONCE], results[ROWS_AT_ONCE];

  __device__ void load(int k, index_t at) {
    slopes[k] = pack_at<W>(dy, at);
    values[k] = pack_at<W>(x, at);
    if (with_y) results[k] = pack_at<W>(y, at);
  }
  // What passes of dy, and the deviation of x from the mean.
  __device__ void finish(COMPUTE* slope, COMPUTE* centered, int k, const Channels<W>& channel) const {
    COMPUTE result[W];
    unpack<W>(slope, slopes[k]);
    unpack<W>(centered, values[k]);
    if (with_y) unpack<W>(result, results[k]);
#pragma unroll
    for (int i = 0; i < W; i++) {
      const COMPUTE again = normalised(centered[i], channel.mean[i], channel.factor[i], channel.offset[i]);
      if (!passes(with_y ? result[i] : again, activation)) slope[i] = 0;
      centered[i] -= channel.mean[i];
    }
  }
};

// The W sums of dy · (x - mean) and the W of dy of this block: parts[y of the grid][products, slopes][channel].
template <int W>
__device__ void store_sums(COMPUTE* parts, COMPUTE* sums, int channels, int lanes, const Place& place) {
  __shared__ COMPUTE shared[2 * W * CHANNEL_THREADS];
  add_groups<2 * W>(sums, shared, lanes, place);
  if (place.group || place.c >= channels) return;
  COMPUTE* to = parts + (index_t)blockIdx.y * 2 * channels + place.c;
  for (int i = 0; i < W; i++) {
    to[i] = sums[i];
    to[channels + i] = sums[W + i];
  }
}

template <int W>
__device__ Channels<W> channels_at(int c, const COMPUTE* scale, const COMPUTE* mean, const COMPUTE* inverse,
                                   const COMPUTE* offset) {
  Channels<W> channel;
  for (int i = 0; i < W; i++) {
    channel.mean[i] = mean[c + i];
    channel.factor[i] = scale[c + i] * inverse[c + i];
    channel.offset[i] = offset[c + i];
  }
  return channel;
}

// What passes is kept where it is a gradient itself, that of the residual, and then read in place of dy; it may be dy.
#define GRADIENT_SUMS(suffix, W)                                                                                      \
  KERNEL gradient_sums##suffix(COMPUTE* parts, SCALAR* passed, bool is_kept, const SCALAR* dy, const SCALAR* x,       \
                               const COMPUTE* scale, const COMPUTE* mean, const COMPUTE* inverse,                     \
                               const COMPUTE* offset, const SCALAR* y, bool with_y, int activation, index_t rows,     \
                               int channels, int lanes) {                                                             \
    const Place place = place_of<W>(lanes);                                                                           \
    COMPUTE sums[2 * W] = {};                                                                                         \
    if (place.c < channels) {                                                                                         \
      const Channels<W> channel = channels_at<W>(place.c, scale, mean, inverse, offset);                              \
      Slopes<W> slopes = {dy, x, y, activation, with_y};                                                              \
      const auto load = [&](int k, index_t row) { slopes.load(k, row * channels + place.c); };                        \
      for_rows_of_part(place, rows, load, [&](int k, index_t row) {                                                   \
        COMPUTE slope[W], centered[W];                                                                                \
        slopes.finish(slope, centered, k, channel);                                                                   \
        for (int i = 0; i < W; i++) {                                                                                 \
          sums[i] += slope[i] * centered[i];                                                                          \
          sums[W + i] += slope[i];                                                                                    \
        }                                                                                                             \
        if (is_kept) store_pack<W>(passed, row * channels + place.c, slope);                                          \
      });                                                                                                             \
    }                                                                                                                 \
    store_sums<W>(parts, sums, channels, lanes, place);                                                               \
  }
WIDTHS(GRADIENT_SUMS)

// totals[dscale, doffset][channel] in the type computed in, and the two as outputs. The variance gives the deviation of
// the inference form, and the inverse deviation stands in its place in that of training.
KERNEL finish_gradient(COMPUTE* dscale, COMPUTE* doffset, COMPUTE* totals, const COMPUTE* parts,
                       const COMPUTE* variance, bool is_inverse, COMPUTE epsilon, int count, int channels,
                       int lanes) {
  __shared__ COMPUTE shared[2 * CHANNEL_THREADS];
  const Place place = place_of<1>(lanes);
  COMPUTE sums[2] = {};
  if (place.c < channels)
    for (int part = place.group; part < count; part += place.groups) {
      sums[0] += parts[(index_t)part * 2 * channels + place.c];
      sums[1] += parts[((index_t)part * 2 + 1) * channels + place.c];
    }
  add_groups<2>(sums, shared, lanes, place);
  if (place.group || place.c >= channels) return;
  const COMPUTE given = variance[place.c];
  sums[0] *= is_inverse ? given : inverse_deviation(given, epsilon);
  totals[place.c] = sums[0];
  totals[channels + place.c] = sums[1];
  dscale[place.c] = sums[0];
  doffset[place.c] = sums[1];
}

// dx may be x: a thread reads its numbers before it writes them.
#define INPUT_GRADIENT(suffix, W)                                                                                     \
  KERNEL input_gradient##suffix(SCALAR* dx, const COMPUTE* totals, const SCALAR* dy, const SCALAR* x,                 \
                                const COMPUTE* scale, const COMPUTE* mean, const COMPUTE* inverse,                    \
                                const COMPUTE* offset, int activation, index_t rows, int channels, int lanes) {       \
    const Place place = place_of<W>(lanes);                                                                           \
    if (place.c >= channels) return;                                                                                  \
    const Channels<W> channel = channels_at<W>(place.c, scale, mean, inverse, offset);                                \
    COMPUTE steep[W], level[W];                                                                                       \
    for (int i = 0; i < W; i++) {                                                                                     \
      steep[i] = totals[place.c + i] / rows * inverse[place.c + i];                                                   \
      level[i] = totals[channels + place.c + i] / rows;                                                               \
    }                                                                                                                 \
    Slopes<W> slopes = {dy, x, x, activation, false};                                                                 \
    const auto load = [&](int k, index_t row) { slopes.load(k, row * channels + place.c); };                          \
    for_all_rows(place, rows, load, [&](int k, index_t row) {                                                         \
      COMPUTE slope[W], centered[W];                                                                                  \
      slopes.finish(slope, centered, k, channel);                                                                     \
      for (int i = 0; i < W; i++)                                                                                     \
        centered[i] = channel.factor[i] * (slope[i] - level[i] - centered[i] * steep[i]);                             \
      store_pack<W>(dx, row * channels + place.c, centered);                                                          \
    });                                                                                                               \
  }
WIDTHS(INPUT_GRADIENT)

// The gradient of the inference form: dx and the sums in one pass.
#define BATCH_NORM_GRADIENT(suffix, W)                                                                                \
  KERNEL batch_norm_gradient##suffix(SCALAR* dx, COMPUTE* parts, const SCALAR* dy, const SCALAR* x,                   \
                                     const COMPUTE* scale, const COMPUTE* mean, const COMPUTE* variance,              \
                                     COMPUTE epsilon, index_t rows, int channels, int lanes) {                        \
    const Place place = place_of<W>(lanes);                                                                           \
    COMPUTE sums[2 * W] = {};                                                                                         \
    if (place.c < channels) {                                                                                         \
      Pack<SCALAR, W> slopes[ROWS_AT_ONCE], values[ROWS_AT_ONCE];                                                     \
      COMPUTE center[W], factor[W];                                                                                   \
      for (int i = 0; i < W; i++) {                                                                                   \
        center[i] = mean[place.c + i];                                                                                \
        factor[i] = scale[place.c + i] * inverse_deviation(variance[place.c + i], epsilon);                           \
      }                                                                                                               \
      const auto load = [&](int k, index_t row) {                                                                     \
        slopes[k] = pack_at<W>(dy, row * channels + place.c);                                                         \
        values[k] = pack_at<W>(x, row * channels + place.c);                                                          \
      };                                                                                                              \
      for_rows_of_part(place, rows, load, [&](int k, index_t row) {                                                   \
        COMPUTE slope[W], value[W];                                                                                   \
        unpack<W>(slope, slopes[k]);                                                                                  \
        unpack<W>(value, values[k]);                                                                                  \
        for (int i = 0; i < W; i++) {                                                                                 \
          sums[i] += slope[i] * (value[i] - center[i]);                                                               \
          sums[W + i] += slope[i];                                                                                    \
          slope[i] *= factor[i];                                                                                      \
        }                                                                                                             \
        store_pack<W>(dx, row * channels + place.c, slope);                                                           \
      });                                                                                                             \
    }                                                                                                                 \
    store_sums<W>(parts, sums, channels, lanes, place);                                                               \
  }
WIDTHS(BATCH_NORM_GRADIENT)

// k + alpha · Σ x² over the neighbouring channels of element i; a thread's neighbours are in cache.
__device__ COMPUTE response(const SCALAR* x, index_t i, int channels, int half, COMPUTE alpha, COMPUTE k) {
  const int c = i % channels, last = min(c + half, channels - 1);
  COMPUTE total = 0;
  for (int e = max(c - half, 0); e <= last; e++) {
    const COMPUTE value = loaded(x, i + e - c);
    total += value * value;
  }
  return k + alpha * total;
}

KERNEL local_response(SCALAR* y, const SCALAR* x, int channels, int half, COMPUTE alpha, COMPUTE beta, COMPUTE k,
                      index_t count) {
  FOR_EACH(i, count) {
    const COMPUTE d = response(x, i, channels, half, alpha, k);
    stored(y, i, loaded(x, i) * (COMPUTE)pow(d, -beta));
  }
}

// shared = dy · x · d^(-beta - 1), whose sums over the window the gradient needs.
KERNEL local_response_terms(COMPUTE* shared, const SCALAR* dy, const SCALAR* x, int channels, int half, COMPUTE alpha,
                            COMPUTE beta, COMPUTE k, index_t count) {
  FOR_EACH(i, count) {
    const COMPUTE d = response(x, i, channels, half, alpha, k);
    shared[i] = loaded(dy, i) * loaded(x, i) * (COMPUTE)pow(d, -beta - 1);
  }
}

KERNEL local_response_gradient(SCALAR* dx, const COMPUTE* shared, const SCALAR* dy, const SCALAR* x, int channels,
                               int half, COMPUTE alpha, COMPUTE beta, COMPUTE k, index_t count) {
  FOR_EACH(i, count) {
    const COMPUTE d = response(x, i, channels, half, alpha, k);
    const int c = i % channels, last = min(c + half, channels - 1);
    COMPUTE total = 0;
    for (int e = max(c - half, 0); e <= last; e++) total += shared[i + e - c];
    stored(dx, i, loaded(dy, i) * (COMPUTE)pow(d, -beta) - 2 * alpha * beta * loaded(x, i) * total);
  }
}
