// Arithmetic element by element, with NumPy's broadcasting.
#include "activated.cuh"
#include "broadcast.cuh"

BROADCAST(add, SCALAR, COMPUTE, activated(a + b, p))
BROADCAST(subtract, SCALAR, COMPUTE, a - b)
BROADCAST(multiply, SCALAR, COMPUTE, a * b)
// A whole number divided by 0 is 0.
BROADCAST(divide, SCALAR, COMPUTE, !FRACTIONS && b == 0 ? 0 : a / b)
BROADCAST(maximum, SCALAR, COMPUTE, a >= b ? a : b)
BROADCAST(minimum, SCALAR, COMPUTE, a <= b ? a : b)

// The strides are those of dy, a and y over the result.
KERNEL chosen_grad(SCALAR* out, const SCALAR* dy, const SCALAR* a, const SCALAR* y, Strides strides, index_t count) {
  FOR_EACH(i, count) {
    const Offsets at = offsets_of(i, strides);
    stored(out, i, loaded(a, at.b) == loaded(y, at.c) ? loaded(dy, at.a) : (COMPUTE)0);
  }
}

UNARY(negative, -x)
UNARY(exponential, exp(real(x)))
UNARY(logarithm, log(real(x)))
UNARY(square_root, sqrt(real(x)))
UNARY(square, x * x)
UNARY(absolute, x > 0 ? x : 0 - x)
UNARY(clip, x < p ? p : x > q ? q : x)
BINARY(absolute_grad, b > 0 ? a : b < 0 ? -a : a * b)
BINARY(clip_grad, b >= p && b <= q ? a : 0)
