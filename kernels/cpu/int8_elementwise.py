"""8-bit sums and products of two tensors, and functions of one number by a table of its 256 values."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, splat
from edge_sdk.kernels.cpu.simd_integers import (
    limited,
    load_bytes,
    load_some_bytes,
    shift_right,
    splat_integer,
    store_bytes,
    store_some_bytes,
)
from edge_sdk.kernels.cpu.simd_rescaling import fixed_product, load_factors, rescale
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Tanh
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import (
    HIGHEST,
    LOWEST,
    PRECISION,
    FixedSummation,
    Rescaling,
    Slopes,
    Summation,
    multiplication,
    same_parameters,
    slopes,
    summation,
)
from edge_sdk.quantization.tables import Lookup, places, real_table, table
from edge_sdk.spec import Array, Spec

CHUNK = 16 << 10  # elements of a task


@parallel_jit
def _sum(
    a: Array, b: Array, out: Array, of_a: int, of_b: int, bias: int, shift: int, zero: int, low: int, high: int
) -> None:
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        factor_a, factor_b, start = splat_integer(of_a), splat_integer(of_b), splat_integer(bias)
        bits, zeros = splat_integer(shift), splat_integer(zero)
        lowest, highest = splat_integer(low), splat_integer(high)
        end = min(out.size, (task + 1) * CHUNK)
        for e in range(task * CHUNK, end, LANES):
            if e + LANES <= end:
                total = start + load_bytes(a, e) * factor_a + load_bytes(b, e) * factor_b
                store_bytes(out, e, limited(shift_right(total, bits) + zeros, lowest, highest))
            else:
                count = end - e
                total = start + load_some_bytes(a, e, count) * factor_a + load_some_bytes(b, e, count) * factor_b
                store_some_bytes(out, e, limited(shift_right(total, bits) + zeros, lowest, highest), count)


def expanded(x: Array, out: Array, space: Array) -> Array:
    """Return x flat, as large as the output: broadcast into `space` where it is smaller."""
    if x.shape == out.shape:
        return x.reshape(-1)
    np.copyto(space.reshape(out.shape), x)
    return space.reshape(-1)


def room(op: Op, a: Spec, b: Spec) -> tuple[Spec, ...]:
    """Return the scratch that `expanded` needs for either input."""
    shape = op.infer_outputs((a, b))[0].shape
    return tuple(Spec(shape if spec.shape != shape else (0,), spec.dtype) for spec in (a, b))


@parallel_jit
def _fixed_sum(
    a: Array, b: Array, out: Array, factors_a: Array, factors_b: Array, factors: Array, zero_a: int, zero_b: int,
    sign: int, zero: int, low: float, high: float,
) -> None:  # fmt: skip
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        of_a, of_b = load_factors(factors_a, 0, LANES), load_factors(factors_b, 0, LANES)
        of_sum = load_factors(factors, 0, LANES)
        zeros_a, zeros_b, zeros = splat_integer(zero_a), splat_integer(zero_b), splat_integer(zero)
        unit, signs, lowest, highest = splat_integer(1 << PRECISION), splat_integer(sign), splat(low), splat(high)
        end = min(out.size, (task + 1) * CHUNK)
        for e in range(task * CHUNK, end, LANES):
            count = end - e
            left = fixed_product((load_some_bytes(a, e, count) - zeros_a) * unit, of_a)
            right = fixed_product((load_some_bytes(b, e, count) - zeros_b) * unit, of_b)
            value = rescale(left + right * signs, of_sum, lowest, highest) + zeros
            store_some_bytes(out, e, value, count)


def _add(
    op: Add | Sub, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...], constants: Summation | FixedSummation
) -> None:
    left, right = (expanded(x, out, space) for x, space in zip((a, b), scratch, strict=True))
    if isinstance(constants, Summation):
        _sum(
            left, right, out.reshape(-1), *constants.factors, constants.bias, constants.shift, constants.zero_point,
            constants.low, constants.high,
        )  # fmt: skip
        return
    zero = constants.zero_point
    _fixed_sum(
        left, right, out.reshape(-1), *(in_all_lanes(factors) for factors in constants.factors), *constants.input_zeros,
        constants.sign, zero, float(constants.low - zero), float(constants.high - zero),
    )  # fmt: skip


kernel(Add, "cpu", algorithm="bytes", quantized=True, constants=summation(1), scratch=room)(_add)
kernel(Sub, "cpu", algorithm="bytes", quantized=True, constants=summation(-1), scratch=room)(_add)


def in_all_lanes(factors: Array) -> Array:
    """Factors (…, n) as (…, n · LANES): each as often as a vector has lanes."""
    return np.repeat(factors, LANES, axis=-1)


@parallel_jit
def _multiply(
    a: Array, b: Array, out: Array, zero_a: int, zero_b: int, factors: Array, zero: int, low: float, high: float
) -> None:
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        zeros_a, zeros_b, zeros = splat_integer(zero_a), splat_integer(zero_b), splat_integer(zero)
        factor, lowest, highest = load_factors(factors, 0, LANES), splat(low), splat(high)
        end = min(out.size, (task + 1) * CHUNK)
        for e in range(task * CHUNK, end, LANES):
            count = end - e
            product = (load_some_bytes(a, e, count) - zeros_a) * (load_some_bytes(b, e, count) - zeros_b)
            store_some_bytes(out, e, rescale(product, factor, lowest, highest) + zeros, count)


@kernel(Mul, "cpu", algorithm="bytes", quantized=True, constants=multiplication, scratch=room)
def mul(op: Mul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...], constants: Rescaling) -> None:
    left, right = (expanded(x, out, space) for x, space in zip((a, b), scratch, strict=True))
    zero = constants.zero_point
    _multiply(
        left, right, out.reshape(-1), *constants.input_zeros, in_all_lanes(constants.factors), zero,
        float(constants.low - zero), float(constants.high - zero),
    )  # fmt: skip


@parallel_jit
def _prelu(
    x: Array, slope: Array, out: Array, upper: Array, lower: Array, zero_x: int, zero_slope: int, zero: int
) -> None:
    channels = slope.size
    for row in prange(x.size // max(channels, 1)):
        above, below = load_factors(upper, 0, LANES), load_factors(lower, 0, LANES)
        nothing, furthest = splat_integer(0), splat_integer(255)
        zeros_x, zeros_slope, zeros = splat_integer(zero_x), splat_integer(zero_slope), splat_integer(zero)
        low, high = splat_integer(LOWEST), splat_integer(HIGHEST)
        for c in range(0, channels, LANES):
            e, count = row * channels + c, channels - c
            real = load_some_bytes(x, e, count) - zeros_x
            positive = limited(real, nothing, furthest)
            negative = (real - positive) * (load_some_bytes(slope, c, count) - zeros_slope)
            value = fixed_product(positive, above) + fixed_product(negative, below)  # one of both is zero, and stays so
            store_some_bytes(out, e, limited(value + zeros, low, high), count)


@kernel(PRelu, "cpu", algorithm="bytes", quantized=True, constants=slopes)
def prelu(op: PRelu, out: Array, x: Array, slope: Array, *, constants: Slopes) -> None:
    _prelu(
        x.reshape(-1), slope, out.reshape(-1), in_all_lanes(constants.upper), in_all_lanes(constants.lower),
        *constants.input_zeros, constants.zero_point,
    )  # fmt: skip


@parallel_jit
def _look_up_all(x: Array, values: Array, out: Array, whole: int) -> None:
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        for e in range(task * CHUNK, min(out.size, (task + 1) * CHUNK)):
            out[e] = values[0, x[e]]
    for e in range(whole, out.size):
        out[e] = values[1, x[e]]


def look_up(op: Op, out: Array, x: Array, *, constants: Lookup) -> None:
    """Store what a table has for each number."""
    whole = x.size // constants.vector * constants.vector
    _look_up_all(places(x), constants.values, out.reshape(-1), whole)


for _op in (HardSwish, LeakyRelu, Quantize, Relu, Relu6, Sigmoid, Tanh):
    kernel(_op, "cpu", algorithm="table", quantized=True, constants=table)(look_up)
kernel(Dequantize, "cpu", algorithm="table", quantized=True, constants=real_table)(look_up)


@kernel(Maximum, "cpu", algorithm="bytes", quantized=True, when=same_parameters)
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> None:
    np.maximum(a, b, out=out)


@kernel(Minimum, "cpu", algorithm="bytes", quantized=True, when=same_parameters)
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> None:
    np.minimum(a, b, out=out)
