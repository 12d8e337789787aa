// What a convolution or dense layer adds to its product, where a library made the product. Bound by memory.
#include "activated.cuh"
#include "packs.cuh"

// y (…, columns) = activation(y + bias + residual), in place: W neighbouring columns a thread, twice.
template <int W>
__device__ void finish(SCALAR* y, const SCALAR* bias, const SCALAR* residual, int columns, bool has_bias,
                       bool has_residual, int activation, index_t packs) {
  const int across = columns / W;
  Pack<SCALAR, W> sums[2], added[2];
  const auto load = [&](int k, index_t i) {
    sums[k] = pack_at<W>(y, i * W);
    if (has_residual) added[k] = pack_at<W>(residual, i * W);
  };
  for_each_ahead<2>(packs, load, [&](int k, index_t i) {
    const int column = (i >> 32 ? (int)(i % across) : (int)((unsigned)i % across)) * W;
#pragma unroll
    for (int j = 0; j < W; j++) {
      COMPUTE sum = loaded(sums[k].values, j);
      if (has_bias) sum += loaded(bias, column + j);
      if (has_residual) sum += loaded(added[k].values, j);
      stored(sums[k].values, j, activated(sum, activation));
    }
    put_pack(y, i * W, sums[k]);
  });
}

#define FINISHED(suffix, W)                                                                                        \
  KERNEL finished##suffix(SCALAR* y, const SCALAR* bias, const SCALAR* residual, int columns, int has_bias,        \
                          int has_residual, int activation, index_t packs) {                                       \
    finish<W>(y, bias, residual, columns, has_bias, has_residual, activation, packs);                              \
  }
FINISHED(, 1)
FINISHED(_packs, 16 / (int)sizeof(SCALAR))
