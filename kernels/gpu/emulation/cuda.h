// CUDA C on a processor: what kernels use of the language and its library, so that the same .cu files run without a GPU.
//
// Blocks run one after the other. The threads of a block are fibers that run in turn until they reach a barrier; a block
// whose threads wait at different barriers can never go on and is reported. Run in both orders (`reversed`), threads that
// depend on each other without a barrier between them give different results.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define EMULATED 1
#define __global__
#define __device__ inline
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static const

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static dim3 blockIdx, threadIdx, blockDim, gridDim;
static constexpr int warpSize = 32;

namespace emulation {

enum class State { ready, at_block, at_warp, done };

struct Copy {
  void* to;
  const void* from;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  dim3 thread;
  State state;
  std::vector<std::vector<Copy>> copies;  // under way, by groups; the last one is still open
};

static constexpr std::size_t STACK = 128 << 10;
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static int running;
static bool fibered;
static std::function<void()> body;
static std::vector<char> dynamic_shared;
static uint64_t exchanged[1024];

static void start() {
  body();
  fibers[running].state = State::done;
  swapcontext(&fibers[running].context, &scheduler);
}

static void wait(State where) {
  int self = running;
  fibers[self].state = where;
  swapcontext(&fibers[self].context, &scheduler);
}

// Let go on whoever waits where all others of the group have arrived; those that have ended count as arrived.
static bool release(int first, int last, State where) {
  bool waiting = false;
  for (int i = first; i < last; i++) {
    if (fibers[i].state == where) waiting = true;
    else if (fibers[i].state != State::done) return false;
  }
  for (int i = first; i < last; i++)
    if (fibers[i].state == where) fibers[i].state = State::ready;
  return waiting;
}

static bool run_block(int threads, bool reversed) {
  for (int i = 0; i < threads; i++) {
    Fiber& fiber = fibers[i];
    if (!fiber.stack) fiber.stack = std::make_unique<char[]>(STACK);
    fiber.state = State::ready;
    fiber.copies.assign(1, {});
    fiber.thread = dim3(i % blockDim.x, (i / blockDim.x) % blockDim.y, i / (blockDim.x * blockDim.y));
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, start, 0);
  }
  for (;;) {
    bool ran = false, left = false;
    for (int k = 0; k < threads; k++) {
      int i = reversed ? threads - 1 - k : k;
      if (fibers[i].state == State::ready) {
        running = i;
        threadIdx = fibers[i].thread;
        swapcontext(&scheduler, &fibers[i].context);
        ran = true;
      }
      left |= fibers[i].state != State::done;
    }
    if (!left) return true;
    bool released = release(0, threads, State::at_block);
    for (int warp = 0; warp < threads; warp += warpSize)
      released |= release(warp, std::min(warp + warpSize, threads), State::at_warp);
    if (!ran && !released) return false;
  }
}

// Run all blocks; false when threads of one wait for each other at different barriers.
static bool launch(dim3 grid, dim3 block, unsigned shared, bool barriers, bool reversed, std::function<void()> kernel) {
  gridDim = grid;
  blockDim = block;
  body = kernel;
  fibered = barriers;
  int threads = block.x * block.y * block.z;
  if (barriers && (int)fibers.size() < threads) fibers.resize(threads);
  dynamic_shared.assign(shared + 64, (char)0xFF);
  int64_t blocks = (int64_t)grid.x * grid.y * grid.z;
  for (int64_t k = 0; k < blocks; k++) {
    int64_t number = reversed ? blocks - 1 - k : k;
    blockIdx = dim3(number % grid.x, (number / grid.x) % grid.y, number / ((int64_t)grid.x * grid.y));
    if (barriers) {
      if (!run_block(threads, reversed)) return false;
      continue;
    }
    for (int j = 0; j < threads; j++) {
      int i = reversed ? threads - 1 - j : j;
      threadIdx = dim3(i % block.x, (i / block.x) % block.y, i / (block.x * block.y));
      kernel();
    }
  }
  return true;
}

template <class... Parameters, std::size_t... I>
static void apply(void (*kernel)(Parameters...), void** values, std::index_sequence<I...>) {
  kernel(*(std::remove_reference_t<Parameters>*)values[I]...);
}

template <class... Parameters>
static void call(void (*kernel)(Parameters...), void** values) {
  apply(kernel, values, std::index_sequence_for<Parameters...>{});
}

static void* aligned_shared() {
  return (void*)(((uintptr_t)dynamic_shared.data() + 63) & ~(uintptr_t)63);
}

template <class T>
static T from_lane(T value, int lane, int width) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  int self = running, base = self / width * width;
  std::memcpy(&exchanged[self], &value, sizeof(T));
  wait(State::at_warp);
  T result = value;
  int source = base + lane;
  if (lane >= 0 && lane < width && source < (int)(blockDim.x * blockDim.y * blockDim.z))
    std::memcpy(&result, &exchanged[source], sizeof(T));
  wait(State::at_warp);
  return result;
}

}  // namespace emulation

#define DYNAMIC_SHARED(type, name) type* name = (type*)emulation::aligned_shared()

static inline void __syncthreads() { emulation::wait(emulation::State::at_block); }
static inline void __syncwarp(unsigned = 0xFFFFFFFF) { emulation::wait(emulation::State::at_warp); }
static inline void __threadfence() {}

template <class T>
static T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  return emulation::from_lane(value, lane, width);
}
template <class T>
static T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
  return emulation::from_lane(value, (emulation::running % width) ^ mask, width);
}
template <class T>
static T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
  return emulation::from_lane(value, emulation::running % width + (int)delta, width);
}
template <class T>
static T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
  return emulation::from_lane(value, emulation::running % width - (int)delta, width);
}

template <class T>
static T __ldg(const T* address) { return *address; }
static inline int atomicAdd(int* address, int value) { int old = *address; *address += value; return old; }
static inline unsigned atomicAdd(unsigned* address, unsigned value) { unsigned old = *address; *address += value; return old; }
static inline unsigned atomicInc(unsigned* address, unsigned limit) {
  unsigned old = *address;
  *address = old >= limit ? 0 : old + 1;
  return old;
}
static inline int atomicOr(int* address, int value) { int old = *address; *address |= value; return old; }

static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
#define __expf(x) std::exp((float)(x))  // glibc has functions of these names
#define __logf(x) std::log((float)(x))
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
static inline unsigned __float_as_uint(float x) { unsigned u; std::memcpy(&u, &x, 4); return u; }
static inline float __uint_as_float(unsigned u) { float x; std::memcpy(&x, &u, 4); return x; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __hiloint2double(int high, int low) {
  uint64_t bits = (uint64_t)(unsigned)high << 32 | (unsigned)low;
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }

// Products of whole numbers that lie side by side in registers: bytes by bytes, or numbers of 16 bits by half of the bytes.
static inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; i++) sum += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
  return sum;
}
static inline int __dp2a_lo(int a, int b, int sum) {
  for (int i = 0; i < 2; i++) sum += (int16_t)(a >> 16 * i) * (int8_t)(b >> 8 * i);
  return sum;
}
static inline int __dp2a_hi(int a, int b, int sum) { return __dp2a_lo(a, b >> 16, sum); }

// mma.m16n8k32 of bytes (cuda/fragments.cuh), on what the lanes of a warp lay side by side.
template <class T>
static void multiply_fragment(int (&sums)[4], const unsigned (&left)[4], unsigned first, unsigned second) {
  __shared__ unsigned lefts[1024][4], rights[1024][2];
  const int self = threadIdx.x, lane = self % 32, warp = self - lane;
  for (int i = 0; i < 4; i++) lefts[self][i] = left[i];
  rights[self][0] = first;
  rights[self][1] = second;
  __syncwarp();
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int four = 0; four < 8; four++) {
      const unsigned a = lefts[warp + row % 8 * 4 + four % 4][four / 4 * 2 + row / 8];
      const unsigned b = rights[warp + column * 4 + four % 4][four / 4];
      sums[i] = __dp4a((int)a, (int)b, sums[i]);
    }
  }
  __syncwarp();
}

static inline int __float_as_int(float x) { int u; std::memcpy(&u, &x, 4); return u; }
static inline float __int_as_float(int u) { float x; std::memcpy(&x, &u, 4); return x; }

// Numbers of 16 bits: stored as such, computed with as float, rounded to nearest even when stored.
struct __half {
  _Float16 bits;
};
static inline float __half2float(__half x) { return (float)x.bits; }
static inline __half __float2half(float x) { return {(_Float16)x}; }

struct __nv_bfloat16 {
  uint16_t bits;
};
static inline float __bfloat162float(__nv_bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
static inline __nv_bfloat16 __float2bfloat16(float x) {
  unsigned u = __float_as_uint(x);
  if (x != x) return {(uint16_t)((u >> 16) | 0x40)};
  return {(uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16)};
}

// Tensor cores, and copies beside the arithmetic: the functions of cuda/fragments.cuh, after the tables of the PTX ISA for
// mma.m16n8k16 (numbers of 16 bits), mma.m16n8k8 (TF32), ldmatrix and cp.async.

namespace emulation {

struct Operands {
  unsigned left[4], right[2];
};
static Operands held[1024];
static const void* matrix_rows[1024];

template <class T>
static float number_at(unsigned bits, int place);
template <>
float number_at<__half>(unsigned bits, int place) {
  uint16_t half = (uint16_t)(bits >> 16 * place);
  __half number;
  std::memcpy(&number, &half, 2);
  return __half2float(number);
}
template <>
float number_at<__nv_bfloat16>(unsigned bits, int place) {
  return __bfloat162float({(uint16_t)(bits >> 16 * place)});
}
template <>
float number_at<float>(unsigned bits, int) {
  return __uint_as_float(bits & 0xFFFFE000u);  // the other bits are not looked at
}

template <bool transposed>
static void matrices(unsigned (&registers)[4], const void* row) {
  const int self = running, lane = self % 32, warp = self - lane;
  matrix_rows[self] = row;
  wait(State::at_warp);
  for (int matrix = 0; matrix < 4; matrix++) {
    uint16_t pair[2];
    for (int i = 0; i < 2; i++) {
      const int line = transposed ? lane % 4 * 2 + i : lane / 4, place = transposed ? lane / 4 : lane % 4 * 2 + i;
      pair[i] = ((const uint16_t*)matrix_rows[warp + matrix * 8 + line])[place];
    }
    registers[matrix] = pair[0] | (unsigned)pair[1] << 16;
  }
  wait(State::at_warp);
}

}  // namespace emulation

template <class T>
static void multiply_fragment(float (&sums)[4], const unsigned (&left)[4], unsigned first, unsigned second) {
  using namespace emulation;
  const int self = running, lane = self % 32, warp = self - lane, group = lane / 4, within = lane % 4;
  constexpr int OF_REGISTER = 4 / sizeof(T), TERMS = 8 * OF_REGISTER;
  std::memcpy(held[self].left, left, sizeof(left));
  held[self].right[0] = first;
  held[self].right[1] = second;
  wait(State::at_warp);
  for (int i = 0; i < 4; i++) {
    const int row = group + i / 2 * 8, column = within * 2 + i % 2;
    for (int term = 0; term < TERMS; term++) {
      const int half = term / (TERMS / 2), lane_of_term = term % (TERMS / 2) / OF_REGISTER, place = term % OF_REGISTER;
      const unsigned a = held[warp + row % 8 * 4 + lane_of_term].left[half * 2 + row / 8];
      const unsigned b = held[warp + column * 4 + lane_of_term].right[half];
      sums[i] += number_at<T>(a, place) * number_at<T>(b, place);
    }
  }
  wait(State::at_warp);
}
static void load_matrices(unsigned (&registers)[4], const void* row) { emulation::matrices<false>(registers, row); }
static void load_transposed_matrices(unsigned (&registers)[4], const void* row) {
  emulation::matrices<true>(registers, row);
}
static inline unsigned to_tf32(unsigned number) {
  return std::isfinite(__uint_as_float(number)) ? (number + 0x1000u) & 0xFFFFE000u : number;
}

// What a copy brings is there once it has been waited for, and no number before.
static inline void copy_async(uint4* to, const void* from) {
  std::memset((void*)to, 0xFF, sizeof(*to));
  emulation::fibers[emulation::running].copies.back().push_back({to, from});
}
static inline void commit_copies() { emulation::fibers[emulation::running].copies.emplace_back(); }
template <int left>
static void wait_copies() {
  auto& groups = emulation::fibers[emulation::running].copies;
  while ((int)groups.size() > left + 1) {
    for (const emulation::Copy& copy : groups.front()) {
      if (copy.from) std::memcpy(copy.to, copy.from, sizeof(uint4));
      else std::memset(copy.to, 0, sizeof(uint4));
    }
    groups.erase(groups.begin());
  }
}
