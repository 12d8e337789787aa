// Dropout by a counter-based hash: the same mask as on any other device.
#include "common.cuh"

typedef unsigned long long hash_t;

// The output function of SplitMix64 (Steele, Lea and Flood 2014).
__device__ hash_t splitmix64(hash_t state) {
  hash_t z = state + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Elements whose 24 bits fall below the threshold are dropped. The step is read here, not when the call was bound.
KERNEL dropout(SCALAR* y, const SCALAR* x, const index_t* step, hash_t seed, hash_t threshold, COMPUTE scale,
               index_t count) {
  const hash_t state = splitmix64(seed + (hash_t)*step);
  FOR_EACH(i, count) {
    const bool kept = (splitmix64(state + (hash_t)i) >> 40) >= threshold;
    stored(y, i, kept ? (COMPUTE)(loaded(x, i) * scale) : (COMPUTE)0);
  }
}
