// Convolutions as products of matrices (gemm.cuh): what pixels see of an image, and the weights that belong to it.
#pragma once
#include "gemm.cuh"
#include "patches.cuh"

// Neighbouring channels of a tap are read in chunks.
__device__ bool channels_in_chunks(const Patches& patches) {
  return patches.channels % CHUNK == 0 && patches.stride % CHUNK == 0 && ALIGNED(patches.image);
}

// A line for each pixel.
struct PixelLines {
  static constexpr bool ALONG_TERMS = true;
  typedef Pixel Line;
  typedef Tap Term;
  const Patches& patches;
  __device__ Pixel line(int number) const { return patches.pixel(number); }
  __device__ Tap term(int number) const { return patches.tap(number); }
  __device__ const SCALAR* at(const Pixel& pixel, const Tap& tap) const { return patches.at(pixel, tap); }
  __device__ bool in_chunks() const { return channels_in_chunks(patches); }
};
// A line for each tap and channel.
struct TapLines {
  static constexpr bool ALONG_TERMS = false;
  typedef Tap Line;
  typedef Pixel Term;
  const Patches& patches;
  __device__ Tap line(int number) const { return patches.tap(number); }
  __device__ Pixel term(int number) const { return patches.pixel(number); }
  __device__ const SCALAR* at(const Tap& tap, const Pixel& pixel) const { return patches.at(pixel, tap); }
  __device__ bool in_chunks() const { return channels_in_chunks(patches); }
};

// The weights of the way back: only those of some taps, and lines that may be the last axis.
template <bool along_terms>
struct TapWeights {
  static constexpr bool ALONG_TERMS = along_terms;
  typedef index_t Line;
  typedef index_t Term;
  const SCALAR* start;
  int lines, width;  // of the whole kernel
  index_t line_step, tap_step, channel_step;
  const Patches& patches;

  __device__ Line line(int number) const { return number < lines ? number * line_step : -1; }
  __device__ Term term(int number) const {
    const int t = patches.by_channels.quotient(number), channel = number - t * (int)patches.by_channels.divisor;
    const int i = patches.by_taps.quotient(t), j = t - i * (int)patches.by_taps.divisor;
    const int row = patches.vertical.first_tap + i * patches.vertical.tap_step;
    const int column = patches.horizontal.first_tap + j * patches.horizontal.tap_step;
    return (row * width + column) * tap_step + channel * channel_step;
  }
  __device__ const SCALAR* at(Line line, Term term) const { return line < 0 ? nullptr : start + line + term; }
  __device__ bool in_chunks() const {
    if (!ALIGNED(start) || tap_step % CHUNK) return false;
    return along_terms ? patches.channels % CHUNK == 0 && line_step % CHUNK == 0
                       : lines % CHUNK == 0 && channel_step % CHUNK == 0;
  }
};
