// Selecting by index, and its gradient without atomic sums: the positions of equal indices are chained in their order,
// and each chain is added up by the threads of its first position. Bound by memory.
#include "common.cuh"

template <class Index>
__device__ index_t row_of(Index index, index_t rows) {
  return index < 0 ? 0 : index >= rows ? rows - 1 : (index_t)index;
}

// Where element i of the result lies in x. Whole is the narrowest type that counts all: dividing 64 bits is slow.
template <class Whole, class Index>
__device__ index_t source_of(Whole i, const Index* indices, Whole positions, index_t rows, Whole rest) {
  const Whole line = i / rest;
  return (line / positions * rows + row_of(indices[line % positions], rows)) * rest + i % rest;
}

// y (lead, positions, rest) = x (lead, rows, rest) at the rows of the indices, in units of one element or of 16 bytes.
template <class Unit, class Index>
__device__ void select(Unit* y, const Unit* x, const Index* indices, index_t positions, index_t rows, index_t rest,
                       index_t count) {
  FOR_EACH(i, count)
    y[i] = x[count >> 32 ? source_of<index_t>(i, indices, positions, rows, rest)
                         : source_of<unsigned>((unsigned)i, indices, (unsigned)positions, rows, (unsigned)rest)];
}

// For each position the next one with the same row, or -1; and whether there is none before. One thread a position.
template <class Index>
__device__ void chain(int* next, int* first, const Index* indices, int rows, index_t count) {
  FOR_EACH(i, count) {
    const index_t row = row_of(indices[i], (index_t)rows);
    index_t later = i + 1, earlier = i - 1;
    while (later < count && row_of(indices[later], (index_t)rows) != row) later++;
    while (earlier >= 0 && row_of(indices[earlier], (index_t)rows) != row) earlier--;
    next[i] = later < count ? (int)later : -1;
    first[i] = earlier < 0;
  }
}

template <class Index>
__device__ void sum_chains(SCALAR* dx, const SCALAR* dy, const Index* indices, const int* next, const int* first,
                           index_t positions, index_t rows, index_t rest, index_t count) {
  FOR_EACH(i, count) {
    const index_t line = i / rest, column = i % rest, lead = line / positions, position = line % positions;
    if (!first[position]) continue;
    COMPUTE total = 0;
    for (index_t at = position; at >= 0; at = next[at]) total += loaded(dy, (lead * positions + at) * rest + column);
    stored(dx, (lead * rows + row_of(indices[position], rows)) * rest + column, total);
  }
}

KERNEL clear(SCALAR* dx, index_t count) {
  FOR_EACH(i, count) stored(dx, i, (COMPUTE)0);
}

#define BY_INDEX(name, Index)                                                                                       \
  KERNEL gather_##name(SCALAR* y, const SCALAR* x, const Index* indices, index_t positions, index_t rows,           \
                       index_t rest, index_t count) {                                                               \
    select(y, x, indices, positions, rows, rest, count);                                                            \
  }                                                                                                                 \
  KERNEL gather_wide_##name(SCALAR* y, const SCALAR* x, const Index* indices, index_t positions, index_t rows,      \
                            index_t rest, index_t count) {                                                          \
    select(reinterpret_cast<uint4*>(y), reinterpret_cast<const uint4*>(x), indices, positions, rows, rest, count);  \
  }                                                                                                                 \
  KERNEL chain_##name(int* next, int* first, const Index* indices, int rows, index_t count) {                       \
    chain(next, first, indices, rows, count);                                                                       \
  }                                                                                                                 \
  KERNEL sum_chains_##name(SCALAR* dx, const SCALAR* dy, const Index* indices, const int* next, const int* first,   \
                           index_t positions, index_t rows, index_t rest, index_t count) {                          \
    sum_chains(dx, dy, indices, next, first, positions, rows, rest, count);                                         \
  }                                                                                                                 \
  KERNEL one_hot_##name(SCALAR* y, const Index* indices, int depth, index_t count) {                                \
    FOR_EACH(i, count) stored(y, i, (COMPUTE)(indices[i / depth] == i % depth));                                    \
  }

BY_INDEX(int32, int)
BY_INDEX(int64, long long)
