// Dynamic loss scaling: one thread decides what becomes of a step, and its results are taken or left. What it takes is
// the start of a kernel; for taking, memory bounds it.
#include "elementwise.cuh"

__device__ bool finite(COMPUTE x) { return x - x == 0; }

// Without a scale any array stands in its place.
KERNEL gradient_factor(SCALAR* factor, const SCALAR* norm_, const SCALAR* scale_, bool scaled, bool clipped,
                       COMPUTE max_norm, COMPUTE least) {
  const COMPUTE norm = loaded(norm_, 0), scale = scaled ? (COMPUTE)loaded(scale_, 0) : (COMPUTE)1;
  const COMPUTE true_norm = norm / scale, share = max_norm / (true_norm < least ? least : true_norm);
  const COMPUTE taken = clipped && share < 1 ? share : (COMPUTE)1;
  stored(factor, 0, finite(norm) ? (COMPUTE)(taken / scale) : (COMPUTE)0);
}

KERNEL loss_scale_update(SCALAR* new_scale, index_t* new_good, const SCALAR* norm, const SCALAR* scale,
                         const index_t* good_, COMPUTE growth, COMPUTE backoff, index_t interval, COMPUTE least,
                         COMPUTE most) {
  const bool is_good = finite(loaded(norm, 0));
  const index_t good = is_good ? *good_ + 1 : 0;
  const bool grows = good >= interval;
  const COMPUTE next = (COMPUTE)loaded(scale, 0) * (!is_good ? backoff : grows ? growth : (COMPUTE)1);
  stored(new_scale, 0, next < least ? least : next > most ? most : next);
  *new_good = grows ? 0 : good;
}

// Pieces of many arrays, as in update.cu; `table` has the addresses of result, old and new of each.
KERNEL taken_or_left(const unsigned long long* table, const index_t* pieces, const float* factor) {
  const index_t* piece = pieces + 3 * (index_t)blockIdx.x;
  const unsigned long long* row = table + piece[0] * 3;
  SCALAR* result = reinterpret_cast<SCALAR*>(row[0]) + piece[1];
  const SCALAR* taken = reinterpret_cast<const SCALAR*>(row[*factor == 0 ? 1 : 2]) + piece[1];
  for (int i = threadIdx.x; i < (int)piece[2]; i += blockDim.x) result[i] = taken[i];
}
