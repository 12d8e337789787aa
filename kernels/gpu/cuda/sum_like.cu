// Sums over the axes along which an array was broadcast.
#include "sums.cuh"

KERNEL sum_columns(COMPUTE* parts, const SCALAR* x, Reduction of) {
  reduce_columns(parts, of, [=](index_t at, index_t) { return (COMPUTE)loaded(x, at); }, Sum());
}

KERNEL sum_rows(COMPUTE* parts, const SCALAR* x, Reduction of) {
  reduce_rows(parts, of, [=](index_t at, index_t) { return (COMPUTE)loaded(x, at); }, Sum());
}

KERNEL sum_parts(SCALAR* y, const COMPUTE* parts, index_t results, int chunks) {
  reduce_parts(y, parts, results, chunks, Sum(), [](COMPUTE total) { return total; });
}
