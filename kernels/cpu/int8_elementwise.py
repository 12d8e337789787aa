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
    rescale,
    shift_right,
    splat_integer,
    store_bytes,
    store_some_bytes,
)
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Softmax, Tanh
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import (
    Rescaling,
    Summation,
    product_rescaling,
    real_table,
    same_parameters,
    softmax_table,
    summation,
    table,
)
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


def _expanded(x: Array, out: Array, room: Array) -> Array:
    """X flat, as large as the output: broadcast into `room` where it is smaller."""
    if x.shape == out.shape:
        return x.reshape(-1)
    np.copyto(room.reshape(out.shape), x)
    return room.reshape(-1)


def _room(op: Op, a: Spec, b: Spec) -> tuple[Spec, ...]:
    shape = op.infer_outputs((a, b))[0].shape
    return tuple(Spec(shape if spec.shape != shape else (0,), "int8") for spec in (a, b))


def _add(op: Add | Sub, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...], constants: Summation) -> None:
    left, right = (_expanded(x, out, room) for x, room in zip((a, b), scratch, strict=True))
    _sum(
        left, right, out.reshape(-1), *constants.factors, constants.bias, constants.shift, constants.zero_point,
        constants.low, constants.high,
    )  # fmt: skip


kernel(Add, "cpu", algorithm="bytes", quantized=True, constants=summation(1), scratch=_room)(_add)
kernel(Sub, "cpu", algorithm="bytes", quantized=True, constants=summation(-1), scratch=_room)(_add)


@parallel_jit
def _multiply(
    a: Array, b: Array, out: Array, zero_a: int, zero_b: int, multiplier: float, zero: int, low: float, high: float
) -> None:
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        zeros_a, zeros_b, zeros = splat_integer(zero_a), splat_integer(zero_b), splat_integer(zero)
        factor, lowest, highest = splat(multiplier), splat(low), splat(high)
        end = min(out.size, (task + 1) * CHUNK)
        for e in range(task * CHUNK, end, LANES):
            count = end - e
            product = (load_some_bytes(a, e, count) - zeros_a) * (load_some_bytes(b, e, count) - zeros_b)
            store_some_bytes(out, e, rescale(product, factor, lowest, highest) + zeros, count)


@kernel(Mul, "cpu", algorithm="bytes", quantized=True, constants=product_rescaling, scratch=_room)
def mul(op: Mul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...], constants: Rescaling) -> None:
    left, right = (_expanded(x, out, room) for x, room in zip((a, b), scratch, strict=True))
    zero = constants.zero_point
    multiplier = constants.multipliers[0] if constants.multipliers.size else np.float32(0)
    _multiply(
        left, right, out.reshape(-1), *constants.input_zeros, multiplier, zero,
        float(constants.low - zero), float(constants.high - zero),
    )  # fmt: skip


@parallel_jit
def _look_up_all(x: Array, values: Array, out: Array) -> None:
    for task in prange((out.size + CHUNK - 1) // CHUNK):
        for e in range(task * CHUNK, min(out.size, (task + 1) * CHUNK)):
            out[e] = values[x[e]]


def _look_up(op: Op, out: Array, x: Array, *, constants: Array) -> None:
    _look_up_all(x.view(np.uint8).reshape(-1), constants, out.reshape(-1))


for _op in (HardSwish, LeakyRelu, Quantize, Relu, Relu6, Sigmoid, Tanh):
    kernel(_op, "cpu", algorithm="table", quantized=True, constants=table)(_look_up)
kernel(Dequantize, "cpu", algorithm="table", quantized=True, constants=real_table)(_look_up)


@parallel_jit
def _softmax(x: Array, powers: Array, out: Array) -> None:
    for row in prange(x.shape[0]):
        largest = -128
        for e in range(x.shape[1]):
            largest = max(largest, x[row, e])
        total = np.float32(0)
        for e in range(x.shape[1]):
            total += powers[largest - x[row, e]]
        factor = np.float32(1) / (total * np.float32(1 / 256))
        for e in range(x.shape[1]):
            rounded = np.floor(powers[largest - x[row, e]] * factor + np.float32(0.5))
            out[row, e] = min(np.int64(rounded) - 128, 127)


@kernel(Softmax, "cpu", algorithm="table", quantized=True, constants=softmax_table)
def softmax(op: Softmax, out: Array, x: Array, *, constants: Array) -> None:
    if x.size:
        _softmax(x.reshape(-1, x.shape[-1]), constants, out.reshape(-1, x.shape[-1]))


@kernel(Maximum, "cpu", algorithm="bytes", quantized=True, when=same_parameters)
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> None:
    np.maximum(a, b, out=out)


@kernel(Minimum, "cpu", algorithm="bytes", quantized=True, when=same_parameters)
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> None:
    np.minimum(a, b, out=out)
