// Functions of one stored number, of a byte or two, by tables of all their values, which are SCALAR. Bound by memory:
// four numbers are loaded and stored at once where addresses allow it; tables come from the cache.
#include "common.cuh"

#define FOUR 4

template <class T>
struct alignas(FOUR * sizeof(T)) Numbers {
  T of[FOUR];
};
template <class T>
__device__ bool starts_four(const T* address) { return (size_t)address % sizeof(Numbers<T>) == 0; }

// Results of the first `whole` numbers stand in the first row of the table, the others' in the second.
template <class T>
__device__ void look_up(SCALAR* y, const T* x, const SCALAR* table, index_t whole, index_t count) {
  constexpr int ROW = 1 << 8 * sizeof(T);
  const index_t fours = starts_four(x) && starts_four(y) ? count / FOUR : 0;
  FOR_EACH(i, fours) {
    const Numbers<T> numbers = reinterpret_cast<const Numbers<T>*>(x)[i];
    Numbers<SCALAR> results;
#pragma unroll
    for (int e = 0; e < FOUR; e++) results.of[e] = table[numbers.of[e] + (FOUR * i + e < whole ? 0 : ROW)];
    reinterpret_cast<Numbers<SCALAR>*>(y)[i] = results;
  }
  FOR_EACH(i, count - FOUR * fours) {
    const index_t place = FOUR * fours + i;
    y[place] = table[x[place] + (place < whole ? 0 : ROW)];
  }
}

KERNEL look_up_bytes(SCALAR* y, const unsigned char* x, const SCALAR* table, index_t whole, index_t count) {
  look_up(y, x, table, whole, count);
}
KERNEL look_up_halves(SCALAR* y, const unsigned short* x, const SCALAR* table, index_t whole, index_t count) {
  look_up(y, x, table, whole, count);
}
