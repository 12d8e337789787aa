// Photos as they are stored, bytes, as the numbers that a network takes. Bound by memory.
#include "packs.cuh"

// y = (pixels - mean) / std of the channel, in COMPUTE: each thread has four neighbours. The array may end within them.
KERNEL normalise_pixels(SCALAR* y, const unsigned char* pixels, const COMPUTE* mean, const COMPUTE* std, int channels,
                        index_t count) {
  FOR_EACH(i, count / 4) {
    const Pack<unsigned char, 4> from = pack_at<4>(pixels, 4 * i);
    Pack<SCALAR, 4> to;
    int c = i >> 30 ? (int)(4 * i % channels) : (int)((unsigned)(4 * i) % (unsigned)channels);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      stored(to.values, j, ((COMPUTE)from.values[j] - mean[c]) / std[c]);
      if (++c == channels) c = 0;
    }
    put_pack(y, 4 * i, to);
  }
  FOR_EACH(i, count % 4) {
    const index_t at = count - count % 4 + i;
    stored(y, at, ((COMPUTE)pixels[at] - mean[at % channels]) / std[at % channels]);
  }
}
