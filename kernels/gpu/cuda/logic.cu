// Comparing, choosing, and arithmetic on truth values and bits.
#include "broadcast.cuh"

BROADCAST(equal, bool, bool, a == b)
BROADCAST(not_equal, bool, bool, a != b)
BROADCAST(less, bool, bool, a < b)
BROADCAST(less_equal, bool, bool, a <= b)
BROADCAST(greater, bool, bool, a > b)
BROADCAST(greater_equal, bool, bool, a >= b)

// Bits are those of whole numbers; the kernels below are never launched for others.
template <class T>
struct Bits {
  typedef T type;
};
template <>
struct Bits<float> {
  typedef int type;
};
template <>
struct Bits<double> {
  typedef long long type;
};
typedef Bits<COMPUTE>::type bits_t;

__device__ bool moves_bits(bits_t places) { return (unsigned long long)places < 8 * sizeof(SCALAR); }

BROADCAST(bits_and, SCALAR, COMPUTE, (bits_t)a & (bits_t)b)
BROADCAST(bits_or, SCALAR, COMPUTE, (bits_t)a | (bits_t)b)
BROADCAST(bits_xor, SCALAR, COMPUTE, (bits_t)a ^ (bits_t)b)
BROADCAST(bits_shift_left, SCALAR, COMPUTE, moves_bits(b) ? (bits_t)((unsigned long long)a << (int)b) : 0)
BROADCAST(bits_shift_right, SCALAR, COMPUTE, moves_bits(b) ? (bits_t)a >> (int)b : a < 0 ? -1 : 0)

// The strides are those of a, b and the condition over the result.
KERNEL where(SCALAR* y, const bool* condition, const SCALAR* a, const SCALAR* b, Strides strides, index_t count) {
  FOR_EACH(i, count) {
    const Offsets at = offsets_of(i, strides);
    y[i] = condition[at.c] ? a[at.a] : b[at.b];
  }
}
