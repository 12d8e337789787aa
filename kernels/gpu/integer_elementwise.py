"""Sums and products of two tensors of stored numbers, PReLU, and functions of one number by tables of all values."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.integer_rescaling import (
    FACTOR,
    FIXED,
    STORING,
    factor_words,
    integer_kernel,
    on_device,
    storing,
)
from edge_sdk.kernels.gpu.launch import MAX_BLOCKS, THREADS, for_each, launch, nothing
from edge_sdk.kernels.gpu.strides import broadcast_strides, strides
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Tanh
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import (
    HIGHEST,
    LOWEST,
    FixedSummation,
    Rescaling,
    Slopes,
    Summation,
    multiplication,
    same_parameters,
    slopes,
    summation,
)
from edge_sdk.quantization.tables import Lookup, real_table, table
from edge_sdk.spec import Array

SUMMATION = np.dtype([*[(name, "i4") for name in ("of_a", "of_b", "bias", "shift")], ("storing", STORING)])
FIXED_SUMMATION = np.dtype(
    {
        "names": ["of_a", "of_b", "of_sum", "zero_a", "zero_b", "sign", "bits", "whole", "storing"],
        "formats": [FACTOR, FACTOR, FACTOR, "i4", "i4", "i4", "i4", "i8", STORING],
        "offsets": [0, 16, 32, 48, 52, 56, 60, 64, 72],
        "itemsize": 96,
    }
)
MULTIPLICATION = np.dtype(
    {
        "names": ["factor", "zero_a", "zero_b", "storing"],
        "formats": [FACTOR, "i4", "i4", STORING],
        "offsets": [0, 16, 20, 24],
        "itemsize": 48,
    }
)
SLOPES = np.dtype(
    {
        "names": ["upper", "lower", "zero_x", "zero_slope", "storing"],
        "formats": [FACTOR, FACTOR, "i4", "i4", STORING],
        "offsets": [0, 16, 32, 36, 40],
        "itemsize": 64,
    }
)
"""The structs of integer_elementwise.cu, whose Factors lie on multiples of 16 bytes."""
FOUR = 4
"""Numbers that a thread takes at once."""


def _pairs(name: str, rules: np.generic, out: Array, a: Array, b: Array) -> Call:
    """The launch of a kernel of two tensors, by fours where they have one shape."""
    if not out.size:
        return nothing()
    dtype = out.dtype.name
    if a.shape == b.shape:
        return _by_fours("integer_elementwise", name, out.size, out, a, b, rules, dtype=dtype)
    walked = strides(out.shape, *(broadcast_strides(x.shape, out.shape) for x in (a, b)))
    return for_each("integer_elementwise", f"{name}_broadcast", out.size, out, a, b, rules, walked, dtype=dtype)


def _by_fours(name: str, function: str, count: int, *values: object, dtype: str) -> Call:
    blocks = min(-(-count // (FOUR * THREADS)), MAX_BLOCKS)
    return launch(name, function, (blocks, 1, 1), (THREADS, 1, 1), *values, np.int64(count), dtype=dtype)


def _add(op: Add | Sub, out: Array, a: Array, b: Array, *, constants: Summation | FixedSummation) -> Call:
    limits = (FIXED, constants.zero_point, constants.low, constants.high)
    if isinstance(constants, Summation):
        rules = structure(SUMMATION, *constants.factors, constants.bias, constants.shift, limits)
        return _pairs("sum", rules, out, a, b)
    together = constants.vector > 1 and a.shape == b.shape
    whole = out.size // constants.vector * constants.vector if together else 0
    factors = [factor_words(factor)[0] for factor in constants.factors]
    numbers = (*constants.input_zeros, constants.sign, constants.bits, whole)
    return _pairs("fixed_sum", structure(FIXED_SUMMATION, *factors, *numbers, limits), out, a, b)


integer_kernel(Add, constants=summation(1))(_add)
integer_kernel(Sub, constants=summation(-1))(_add)


@integer_kernel(Mul, constants=multiplication)
def mul(op: Mul, out: Array, a: Array, b: Array, *, constants: Rescaling) -> Call:
    factor = factor_words(constants.factors)[0]
    rules = structure(MULTIPLICATION, factor, *constants.input_zeros, storing(constants))
    return _pairs("multiply", rules, out, a, b)


@integer_kernel(Maximum, when=same_parameters)
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> Call:
    return _pairs("maximum", np.int32(0), out, a, b)


@integer_kernel(Minimum, when=same_parameters)
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> Call:
    return _pairs("minimum", np.int32(0), out, a, b)


@kernel(PRelu, "gpu", quantized=True, constants=slopes, binds=True)
def prelu(op: PRelu, out: Array, x: Array, slope: Array, *, constants: Slopes) -> Call:
    factors = [factor_words(factor)[0] for factor in (constants.upper, constants.lower)]
    limits = (FIXED, constants.zero_point, LOWEST, HIGHEST)
    rules = structure(SLOPES, *factors, *constants.input_zeros, limits)
    values = (out, x, slope, rules, np.int32(x.shape[-1]))
    return for_each("integer_elementwise", "prelu", x.size, *values, dtype=x.dtype.name)


def _look_up(op: Op, out: Array, x: Array, *, constants: Lookup) -> Call:
    if not out.size:
        return nothing()
    kind, places = ("bytes", np.uint8) if x.dtype.itemsize == 1 else ("halves", np.uint16)
    whole = np.int64(x.size // constants.vector * constants.vector)
    values = (out, x.view(places), on_device(constants.values), whole)
    return _by_fours("integer_lookup", f"look_up_{kind}", out.size, *values, dtype=out.dtype.name)


for _op in (LeakyRelu, Quantize, Relu, Relu6, Sigmoid, Tanh):
    integer_kernel(_op, constants=table)(_look_up)
kernel(HardSwish, "gpu", quantized=True, constants=table, binds=True)(_look_up)
integer_kernel(Dequantize, constants=real_table)(_look_up)
