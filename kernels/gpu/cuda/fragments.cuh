// What tensor cores ask of a warp: fragments of matrices in its registers, and copies to shared memory beside its work.
//
// Sources: PTX ISA 9, 9.7.14.5 "Matrix Fragments for mma.m16n8k8" and "… mma.m16n8k16 with floating point type",
// "ldmatrix", and "cp.async". The emulation (kernels/gpu/emulation/cuda.h) has functions of the same names, written after
// the same tables: a value in the wrong register gives wrong results there too.
//
// A fragment of 16 lines is four registers of each lane, which hold 4 bytes at `lane % 4` of a line `lane / 4`:
//   0: lines 0–7, first 16 bytes of terms     1: lines 8–15, first 16
//   2: lines 0–7, second 16                   3: lines 8–15, second 16
// Terms are 16 numbers of 16 bits, 8 of TF32 or 32 of 8 bits: the orders of m16n8k16, m16n8k8 and m16n8k32 are one in
// bytes.
#pragma once
#include "common.cuh"

#ifndef EMULATED

#if __CUDA_ARCH__ < 750 || (__CUDA_ARCH__ < 800 && !defined(SCALAR_IS_HALF))
#error "bfloat16, TF32 and int8 on tensor cores need sm_80, float16 needs sm_75"
#endif

// sums += left (16 lines) · right (8 lines: registers of lines 0–7 or of lines 8–15 of a fragment). A lane has the sums
// of left lines lane / 4 (0, 1) and lane / 4 + 8 (2, 3) with right lines lane % 4 · 2 and the one behind it.
template <class T>
__device__ void multiply_fragment(float (&sums)[4], const unsigned (&left)[4], unsigned first, unsigned second) {
#if defined(SCALAR_IS_HALF) && __CUDA_ARCH__ < 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(left[0]), "r"(left[1]), "r"(first));
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(left[2]), "r"(left[3]), "r"(second));
#else
#if defined(SCALAR_IS_HALF)
#define MULTIPLY "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#elif defined(SCALAR_IS_BFLOAT16)
#define MULTIPLY "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define MULTIPLY "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
#endif
  asm volatile(MULTIPLY " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(first), "r"(second));
#endif
}

// The same of bytes, whose sums are exact.
template <class T>
__device__ void multiply_fragment(int (&sums)[4], const unsigned (&left)[4], unsigned first, unsigned second) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
               : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(first), "r"(second));
}

// Eight times sixteen bytes for each register, from where lanes 0–7, 8–15, 16–23 and 24–31 say.
__device__ void load_matrices(unsigned (&registers)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"((unsigned)__cvta_generic_to_shared(row)));
}
// The same of numbers of 16 bits, each eight by eight turned over.
__device__ void load_transposed_matrices(unsigned (&registers)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"((unsigned)__cvta_generic_to_shared(row)));
}

// The nearest number of 10 bits behind the point, of two equally near the one farther from 0.
__device__ unsigned to_tf32(unsigned number) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(number) : "f"(__uint_as_float(number)));
#endif
  return number;
}

// Sixteen bytes to shared memory, or zeros in place of nullptr. Before sm_80 a thread waits for them at once.
__device__ void copy_async(uint4* to, const void* from) {
#if __CUDA_ARCH__ >= 800
  if (from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from)) : "memory");
    return;
  }
#endif
  *to = from ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}
__device__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most `left` of the groups committed by this thread are under way.
template <int left>
__device__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" :: "n"(left) : "memory");
#endif
}

#endif
