// Sums of rows of channels, such as gradients of biases: of parts of the rows, then of these. Bound by memory.
#include "channels.cuh"

// parts[y of the grid][channel] = the sums of this block's rows.
#define COLUMN_SUMS(suffix, W)                                                                                        \
  KERNEL column_sums##suffix(COMPUTE* parts, const SCALAR* x, index_t rows, int channels, int lanes) {                \
    __shared__ COMPUTE shared[W * CHANNEL_THREADS];                                                                   \
    const Place place = place_of<W>(lanes);                                                                           \
    COMPUTE sums[W] = {};                                                                                             \
    if (place.c < channels) {                                                                                         \
      Pack<SCALAR, W> numbers[2 * ROWS_AT_ONCE];                                                                      \
      const auto load = [&](int k, index_t row) { numbers[k] = pack_at<W>(x, row * channels + place.c); };            \
      const index_t first = rows * blockIdx.y / gridDim.y, end = rows * (blockIdx.y + 1) / gridDim.y;                 \
      for_ahead<2 * ROWS_AT_ONCE>(first + place.group, end, place.groups, load, [&](int k, index_t) {                 \
        for (int i = 0; i < W; i++) sums[i] += loaded(numbers[k].values, i);                                          \
      });                                                                                                             \
    }                                                                                                                 \
    add_groups<W>(sums, shared, lanes, place);                                                                        \
    if (place.group || place.c >= channels) return;                                                                   \
    Pack<COMPUTE, W> whole;                                                                                           \
    for (int i = 0; i < W; i++) whole.values[i] = sums[i];                                                            \
    put_pack(parts, (index_t)blockIdx.y * channels + place.c, whole);                                                 \
  }
COLUMN_SUMS(, 1)
COLUMN_SUMS(_4, 4)

KERNEL sums_of_parts(SCALAR* y, const COMPUTE* parts, int count, int channels, int lanes) {
  __shared__ COMPUTE shared[CHANNEL_THREADS];
  const Place place = place_of<1>(lanes);
  COMPUTE sum[1] = {};
  if (place.c < channels)
    for (int part = place.group; part < count; part += place.groups) sum[0] += parts[(index_t)part * channels + place.c];
  add_groups<1>(sum, shared, lanes, place);
  if (place.group == 0 && place.c < channels) stored(y, place.c, sum[0]);
}
