// Photos as they are stored, bytes, as the numbers that a network takes. Bound by memory.
#include "common.cuh"

template <class T>
struct alignas(4 * sizeof(T)) Four {
  T of[4];
};

// y = (pixels - mean) / std of the channel, in COMPUTE: each thread has four neighbours. The array may end within them.
KERNEL normalise_pixels(SCALAR* y, const unsigned char* pixels, const COMPUTE* mean, const COMPUTE* std, int channels,
                        index_t count) {
  FOR_EACH(i, count / 4) {
    const Four<unsigned char> from = reinterpret_cast<const Four<unsigned char>*>(pixels)[i];
    Four<SCALAR> to;
    int c = i >> 30 ? (int)(4 * i % channels) : (int)((unsigned)(4 * i) % (unsigned)channels);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      stored(to.of, j, ((COMPUTE)from.of[j] - mean[c]) / std[c]);
      if (++c == channels) c = 0;
    }
    reinterpret_cast<Four<SCALAR>*>(y)[i] = to;
  }
  FOR_EACH(i, count % 4) {
    const index_t at = count - count % 4 + i;
    stored(y, at, ((COMPUTE)pixels[at] - mean[at % channels]) / std[at % channels]);
  }
}
