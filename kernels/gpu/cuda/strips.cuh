// Strips of neighbouring pixels of a line, each with the channels that 16 bytes hold: what a thread takes at once.
#pragma once
#include "epilogue.cuh"
#include "patches.cuh"

#define CHUNK (16 / (int)sizeof(SCALAR))
#define STRIP 4

__device__ uint4 chunk_at(const SCALAR* address) { return *reinterpret_cast<const uint4*>(address); }
__device__ void unpack(COMPUTE (&values)[CHUNK], const uint4& chunk) {
#pragma unroll
  for (int i = 0; i < CHUNK; i++) values[i] = loaded(reinterpret_cast<const SCALAR*>(&chunk), i);
}

__device__ bool inside(int place, int size) { return (unsigned)place < (unsigned)size; }
