// Tensor cores, and copies beside the arithmetic: the functions of cuda/fragments.cuh, after the tables of the PTX ISA for
// mma.m16n8k16 (numbers of 16 bits), mma.m16n8k8 (TF32), mma.m16n8k32 (bytes), ldmatrix and cp.async.
#pragma once

namespace emulation {

struct Operands {
  unsigned left[4], right[2];
};
static Operands held_in_turn[2][MAX_THREADS];
static const void* matrix_rows[MAX_THREADS];

template <class T>
static float number_at(unsigned bits, int place);
template <>
UNCHECKED inline float number_at<__half>(unsigned bits, int place) {
  uint16_t half = (uint16_t)(bits >> 16 * place);
  __half number;
  std::memcpy(&number, &half, 2);
  return __half2float(number);
}
template <>
UNCHECKED inline float number_at<__nv_bfloat16>(unsigned bits, int place) {
  return __bfloat162float({(uint16_t)(bits >> 16 * place)});
}
template <>
UNCHECKED inline float number_at<float>(unsigned bits, int) {
  return __uint_as_float(bits & 0xFFFFE000u);  // the other bits are not looked at
}

template <bool transposed>
UNCHECKED static void matrices(unsigned (&registers)[4], const void* row) {
  const int self = now.thread, lane = self % 32, warp = self - lane;
  matrix_rows[self] = row;
  wait(Barrier::exchange);
  for (int matrix = 0; matrix < 4; matrix++) {
    uint16_t pair[2];
    for (int i = 0; i < 2; i++) {
      const int line = transposed ? lane % 4 * 2 + i : lane / 4, place = transposed ? lane / 4 : lane % 4 * 2 + i;
      pair[i] = ((const uint16_t*)matrix_rows[warp + matrix * 8 + line])[place];
    }
    registers[matrix] = pair[0] | (unsigned)pair[1] << 16;
  }
  wait(Barrier::exchange);
}

}  // namespace emulation

namespace emulation {

// Lay a lane's registers beside those of its warp; return where all of them are.
UNCHECKED static Operands* shown_to_warp(const unsigned (&left)[4], unsigned first, unsigned second) {
  Operands* const held = held_in_turn[now.exchanges % 2];
  std::memcpy(held[now.thread].left, left, sizeof(left));
  held[now.thread].right[0] = first;
  held[now.thread].right[1] = second;
  wait(Barrier::exchange);
  return held + now.thread / 32 * 32;
}

}  // namespace emulation

template <class T>
UNCHECKED static void multiply_fragment(float (&sums)[4], const unsigned (&left)[4], unsigned first, unsigned second) {
  const int lane = emulation::now.thread % 32;
  constexpr int OF_REGISTER = 4 / sizeof(T), TERMS = 8 * OF_REGISTER;
  const emulation::Operands* const held = emulation::shown_to_warp(left, first, second);
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int term = 0; term < TERMS; term++) {
      const int half = term / (TERMS / 2), lane_of_term = term % (TERMS / 2) / OF_REGISTER, place = term % OF_REGISTER;
      const unsigned a = held[row % 8 * 4 + lane_of_term].left[half * 2 + row / 8];
      const unsigned b = held[column * 4 + lane_of_term].right[half];
      sums[i] += emulation::number_at<T>(a, place) * emulation::number_at<T>(b, place);
    }
  }
}
// Of bytes, four terms to a register.
template <class T>
UNCHECKED static void multiply_fragment(int (&sums)[4], const unsigned (&left)[4], unsigned first, unsigned second) {
  const int lane = emulation::now.thread % 32;
  const emulation::Operands* const held = emulation::shown_to_warp(left, first, second);
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int four = 0; four < 8; four++) {
      const unsigned a = held[row % 8 * 4 + four % 4].left[four / 4 * 2 + row / 8];
      const unsigned b = held[column * 4 + four % 4].right[four / 4];
      sums[i] = __dp4a((int)a, (int)b, sums[i]);
    }
  }
}
static inline void load_matrices(unsigned (&registers)[4], const void* row) {
  checks::read_row(row);
  emulation::matrices<false>(registers, row);
}
static inline void load_transposed_matrices(unsigned (&registers)[4], const void* row) {
  checks::read_row(row);
  emulation::matrices<true>(registers, row);
}
static inline unsigned to_tf32(unsigned number) {
  return std::isfinite(__uint_as_float(number)) ? (number + 0x1000u) & 0xFFFFE000u : number;
}

static inline void copy_async(uint4* to, const void* from) {
  checks::begin_copy(to, from);
  emulation::begin_copy(to, from);
}
static inline void commit_copies() { emulation::commit_copies(); }
template <int left>
static void wait_copies() {
  emulation::wait_copies(left);
}
