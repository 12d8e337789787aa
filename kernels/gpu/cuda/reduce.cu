// Reductions over any axes, in two launches where one could not fill a GPU. Bound by memory.
//
// A block has `lanes` results and the rest of its threads share what each is made of. Which of the two lies next to each
// other in memory is that of neighbouring threads, so loads of a warp are contiguous either way.
#include "block.cuh"
#include "elementwise.cuh"
#include "strided.cuh"

#define REDUCE_THREADS 256

struct Element {
  template <class T>
  __device__ COMPUTE operator()(T x, index_t) const { return x; }
};

// 1 where an element is the largest of its result: counts how many share a gradient.
struct IsLargest {
  const SCALAR* y;
  template <class T>
  __device__ COMPUTE operator()(T x, index_t result) const { return x == loaded(y, result) ? 1 : 0; }
};

// What to begin with where a thread may have no element: nothing for sums, any element of the part for the largest.
template <class T>
__device__ COMPUTE start(const T*, index_t, Sum) { return 0; }
template <class T>
__device__ COMPUTE start(const T* x, index_t at, Largest) { return loaded(x, at); }

// A mean of no numbers is not a number, and 0 of whole ones, as is any whole number divided by 0.
__device__ COMPUTE divided(COMPUTE total, COMPUTE count) { return !FRACTIONS && count == 0 ? 0 : total / count; }

__device__ index_t offset_of(index_t i, const Strides& strides) {
  return strides.rank == 1 ? i * strides.a[0] : strides.rank == 0 ? 0 : offsets_of(i, strides).a;
}

// y[part][result] = of the part's elements. Blocks along x are of results, along y of parts.
template <class To, class From, class Value, class Combine>
__device__ void reduce(To* y, const From* x, const Strides& kept, const Strides& reduced, index_t results,
                       index_t elements, int lanes, bool reduced_last, COMPUTE divisor, Value value, Combine combine) {
  __shared__ COMPUTE shared[REDUCE_THREADS];
  const int groups = REDUCE_THREADS / lanes, thread = threadIdx.x;
  const int lane = reduced_last ? thread / groups : thread % lanes, group = reduced_last ? thread % groups : thread / lanes;
  const index_t result = blockIdx.x * (index_t)lanes + lane;
  const index_t first = elements * blockIdx.y / gridDim.y, end = elements * (blockIdx.y + 1) / gridDim.y;
  COMPUTE total = 0;
  if (result < results) {
    const From* from = x + offset_of(result, kept);
    total = start(from, first < end ? offset_of(first, reduced) : 0, combine);
#pragma unroll 4
    for (index_t i = first + group; i < end; i += groups)
      total = combine(total, value(loaded(from, offset_of(i, reduced)), result));
  }
  const int step = reduced_last ? 1 : lanes;  // from group to group
  shared[thread] = total;
  __syncthreads();
  for (int half = groups / 2; half; half /= 2) {
    if (group < half) shared[thread] = combine(shared[thread], shared[thread + half * step]);
    __syncthreads();
  }
  if (group == 0 && result < results) stored(y, blockIdx.y * results + result, divided(shared[thread], divisor));
}

#define REDUCTION(name, To, From, Combine)                                                                            \
  KERNEL name(To* y, const From* x, Strides kept, Strides reduced, index_t results, index_t elements, int lanes,      \
              bool reduced_last, COMPUTE divisor) {                                                                   \
    reduce(y, x, kept, reduced, results, elements, lanes, reduced_last, divisor, Element(), Combine());               \
  }
REDUCTION(reduce_sum, SCALAR, SCALAR, Sum)
REDUCTION(reduce_sum_to_parts, COMPUTE, SCALAR, Sum)
REDUCTION(reduce_sum_of_parts, SCALAR, COMPUTE, Sum)
REDUCTION(add_parts, COMPUTE, COMPUTE, Sum)
REDUCTION(reduce_max, SCALAR, SCALAR, Largest)
REDUCTION(reduce_max_to_parts, COMPUTE, SCALAR, Largest)
REDUCTION(reduce_max_of_parts, SCALAR, COMPUTE, Largest)

KERNEL count_largest(COMPUTE* counts, const SCALAR* x, const SCALAR* y, Strides kept, Strides reduced, index_t results,
                     index_t elements, int lanes, bool reduced_last) {
  reduce(counts, x, kept, reduced, results, elements, lanes, reduced_last, (COMPUTE)1, IsLargest{y}, Sum());
}

// dx = dy / how many are largest, where x is. The strides lead from an element of x to its result.
KERNEL share_among_largest(SCALAR* dx, const SCALAR* dy, const SCALAR* x, const SCALAR* y, const COMPUTE* counts,
                           Strides strides, index_t count) {
  FOR_EACH(i, count) {
    const index_t result = offset_of(i, strides);
    stored(dx, i, (COMPUTE)(loaded(x, i) == loaded(y, result) ? loaded(dy, result) / counts[result] : 0));
  }
}

// y = x / divisor; y may be x.
KERNEL divide(SCALAR* y, const SCALAR* x, COMPUTE divisor, index_t count) {
  FOR_EACH(i, count) stored(y, i, (COMPUTE)(loaded(x, i) / divisor));
}

KERNEL broadcast(SCALAR* y, const SCALAR* x, Strides strides, index_t count) {
  FOR_EACH(i, count) y[i] = x[offset_of(i, strides)];
}
