// What each pixel of a result sees of an image (n, height, width, channels), looked up where it lies.
#pragma once
#include "common.cuh"

// Division of numbers below 2^31 by one divisor, as a product and a shift: 2^(31 + s) / divisor, rounded up, fits in
// 32 bits for the least s with divisor ≤ 2^s (Granlund and Montgomery 1994, theorem 4.2).
struct Divisor {
  unsigned divisor, factor, shift;
  __device__ explicit Divisor(int by) : divisor(by), shift(31) {
    while ((1ull << (shift - 31)) < divisor) shift++;
    factor = (unsigned)(((1ull << shift) + divisor - 1) / divisor);
  }
  __device__ int quotient(int number) const { return (int)(((unsigned long long)(unsigned)number * factor) >> shift); }
};

// One axis of a convolution or of its way back: the u-th pixel of the result is at first + u · step, and its t-th tap,
// which is tap first_tap + t · tap_step of the kernel, meets the image at origin + u · stride + t · dilation.
struct Axis {
  int pixels, first, step;
  int size, origin, stride, dilation;
  int taps, first_tap, tap_step;
};

// Filled by kernels/gpu/conv.py: a convolution of an image (n, height, width, channels) into (n, p, q, outputs).
struct Extent {
  int image, result, kernel, stride, dilation, before;
};
struct Geometry {
  int images, channels, outputs, groups;  // channels and outputs of all groups
  Extent vertical, horizontal;
};

__device__ Axis forward_axis(const Extent& e) {
  return {e.result, 0, 1, e.image, -e.before, e.stride, e.dilation, e.kernel, 0, 1};
}

// The way back, from the convolution's result to its image. Only those pixels of the image that lie as `phase` says,
// modulo the stride: they are met by the same taps, so that no product with 0 is computed.
__device__ Axis backward_axis(const Extent& e, int phase) {
  Axis axis;
  axis.step = e.stride;
  axis.first = (phase - e.before % e.stride + e.stride) % e.stride;
  axis.pixels = axis.first < e.image ? (e.image - axis.first - 1) / e.stride + 1 : 0;
  axis.tap_step = 1;
  while (axis.tap_step * e.dilation % e.stride) axis.tap_step++;
  axis.first_tap = 0;
  while (axis.first_tap < axis.tap_step && axis.first_tap * e.dilation % e.stride != phase) axis.first_tap++;
  const bool met = axis.first_tap < axis.tap_step && axis.first_tap < e.kernel;
  axis.taps = met ? (e.kernel - axis.first_tap - 1) / axis.tap_step + 1 : 0;
  axis.size = e.result;
  axis.stride = 1;
  axis.origin = met ? (axis.first + e.before - axis.first_tap * e.dilation) / e.stride : 0;
  axis.dilation = -(axis.tap_step * e.dilation / e.stride);
  return axis;
}

struct Pixel {
  index_t image;
  int row, column;
};
struct Tap {
  int row, column, channel;
};

// All pixels of a result, and all taps and channels of what they see, each counted in the order in which they lie.
struct Patches {
  const SCALAR* image;  // from the group's first channel
  int images, channels, stride;  // channels of the group; from pixel to pixel
  Axis vertical, horizontal;
  Divisor by_image, by_line, by_channels, by_taps;

  __device__ Patches(const SCALAR* image, int images, int channels, int stride, const Axis& vertical,
                     const Axis& horizontal)
      : image(image), images(images), channels(channels), stride(stride), vertical(vertical), horizontal(horizontal),
        by_image(max(vertical.pixels * horizontal.pixels, 1)), by_line(max(horizontal.pixels, 1)),
        by_channels(max(channels, 1)), by_taps(max(horizontal.taps, 1)) {}

  __device__ int pixels() const { return images * vertical.pixels * horizontal.pixels; }
  __device__ int terms() const { return vertical.taps * horizontal.taps * channels; }

  // A number beyond the last one gives a pixel or a tap far outside every image.
  __device__ Pixel pixel(int number) const {
    if (number >= pixels()) return {0, -(1 << 30), 0};
    const int n = by_image.quotient(number), within = number - n * (int)by_image.divisor;
    const int u = by_line.quotient(within), v = within - u * (int)by_line.divisor;
    const index_t first = (index_t)n * vertical.size * horizontal.size * stride;
    return {first, vertical.origin + u * vertical.stride, horizontal.origin + v * horizontal.stride};
  }
  __device__ Tap tap(int number) const {
    if (number >= terms()) return {-(1 << 30), 0, 0};
    const int t = by_channels.quotient(number), i = by_taps.quotient(t), j = t - i * (int)by_taps.divisor;
    return {i * vertical.dilation, j * horizontal.dilation, number - t * (int)by_channels.divisor};
  }
  // Where what a pixel sees by a tap lies; nullptr outside of the image, where it is 0.
  __device__ const SCALAR* at(const Pixel& pixel, const Tap& tap) const {
    const int row = pixel.row + tap.row, column = pixel.column + tap.column;
    if ((unsigned)row >= (unsigned)vertical.size || (unsigned)column >= (unsigned)horizontal.size) return nullptr;
    return image + (pixel.image + (index_t)(row * horizontal.size + column) * stride + tap.channel);
  }
};
