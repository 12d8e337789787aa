"""Sums and products of two tensors of 16-bit numbers, and functions of one by a table of its 65536 values."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.int8_elementwise import CHUNK, expanded, look_up, maximum, minimum, room
from edge_sdk.kernels.cpu.int16_rounding import fixed_product, high_product, shifted
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.activation import LeakyRelu, Relu, Relu6, Sigmoid, Tanh
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import FixedSummation, Rescaling, multiplication, same_parameters, summation
from edge_sdk.quantization.tables import real_table, table
from edge_sdk.spec import Array


@parallel_jit
def _sum(
    a: Array, b: Array, out: Array, factors: Array, sign: int, bits: int, whole: int, low: int, high: int
) -> None:  # fmt: skip
    """Factors are those of a, of b and of the sum, (3, 4); the first `whole` numbers are refined as vectors are."""
    multiplier_a, left_a, right_a, _ = factors[0]
    multiplier_b, left_b, right_b, _ = factors[1]
    multiplier, left, right, _ = factors[2]
    shift_a, shift_b = bits - right_a, bits - right_b
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        first, last = task * CHUNK, min(out.size, (task + 1) * CHUNK)
        middle = max(min(whole, last), first)
        for e in range(first, middle):
            one = high_product(shifted(a[e], shift_a), multiplier_a)
            other = high_product(shifted(b[e], shift_b), multiplier_b)
            out[e] = min(max(fixed_product(one + sign * other, multiplier, left, right), low), high)
        for e in range(middle, last):
            one = fixed_product(np.int64(a[e]) << bits, multiplier_a, left_a, right_a)
            other = fixed_product(np.int64(b[e]) << bits, multiplier_b, left_b, right_b)
            out[e] = min(max(fixed_product(one + sign * other, multiplier, left, right), low), high)


def _add(
    op: Add | Sub, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...], constants: FixedSummation
) -> None:
    one, other = (expanded(x, out, space) for x, space in zip((a, b), scratch, strict=True))
    factors = np.stack([factor[:, 0] for factor in constants.factors]).astype(np.int64)
    together = constants.vector > 1 and a.shape == b.shape
    whole = out.size // constants.vector * constants.vector if together else 0
    _sum(one, other, out.reshape(-1), factors, constants.sign, constants.bits, whole, constants.low, constants.high)


kernel(Add, "cpu", algorithm="fixed point", quantized="int16", constants=summation(1), scratch=room)(_add)
kernel(Sub, "cpu", algorithm="fixed point", quantized="int16", constants=summation(-1), scratch=room)(_add)


@parallel_jit
def _multiply(a: Array, b: Array, out: Array, factors: Array, low: int, high: int) -> None:
    multiplier, left, right, _ = factors
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        for e in range(task * CHUNK, min(out.size, (task + 1) * CHUNK)):
            product = fixed_product(np.int64(a[e]) * np.int64(b[e]), multiplier, left, right)
            out[e] = min(max(product, low), high)


@kernel(Mul, "cpu", algorithm="fixed point", quantized="int16", constants=multiplication, scratch=room)
def mul(op: Mul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...], constants: Rescaling) -> None:
    one, other = (expanded(x, out, space) for x, space in zip((a, b), scratch, strict=True))
    factors = constants.factors[:, 0].astype(np.int64)
    _multiply(one, other, out.reshape(-1), factors, constants.low, constants.high)


for _op in (LeakyRelu, Quantize, Relu, Relu6, Sigmoid, Tanh):
    kernel(_op, "cpu", algorithm="table", quantized="int16", constants=table)(look_up)
kernel(Dequantize, "cpu", algorithm="table", quantized="int16", constants=real_table)(look_up)
kernel(Maximum, "cpu", quantized="int16", when=same_parameters)(maximum)
kernel(Minimum, "cpu", quantized="int16", when=same_parameters)(minimum)
