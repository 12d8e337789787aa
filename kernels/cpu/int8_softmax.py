"""8-bit softmax by a table of powers: in float32, or in fixed point as the runtime's naive kernel computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.ops.activation import Softmax
from edge_sdk.quantization.arithmetic import HIGHEST, LOWEST
from edge_sdk.quantization.fixed_point import ONE
from edge_sdk.quantization.tables import softmax_table
from edge_sdk.spec import Array


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


# The functions of edge_sdk.quantization.fixed_point, on one number.


@jit
def _high_product(a: int, b: int) -> int:
    return min((a * b + (1 << 30)) >> 31, ONE)


@jit
def _divided(x: int, exponent: int) -> int:
    mask = (1 << exponent) - 1
    return (x >> exponent) + int((x & mask) > (mask >> 1) + int(x < 0))


@jit
def _reciprocal(x: int) -> Any:
    half = (x + ONE + 1) >> 1
    guess = 1515870810 + _high_product(half, -1010580540)
    for _ in range(3):
        guess += _high_product(guess, (1 << 29) - _high_product(half, guess)) << 2
    return min(guess << 1, ONE)


@parallel_jit
def _fixed_softmax(x: Array, powers: Array, out: Array) -> None:
    for row in prange(x.shape[0]):
        largest = -128
        for e in range(x.shape[1]):
            largest = max(largest, x[row, e])
        total = 0
        for e in range(x.shape[1]):
            total += _divided(np.int64(powers[largest - x[row, e]]), 12)
        headroom = 0
        while (total << headroom) < 1 << 31:
            headroom += 1
        scale = _reciprocal((total << headroom) - (1 << 31))
        for e in range(x.shape[1]):
            share = _divided(_high_product(scale, np.int64(powers[largest - x[row, e]])), 35 - headroom)
            out[row, e] = min(max(share + LOWEST, LOWEST), HIGHEST)


@kernel(Softmax, "cpu", algorithm="table", quantized=True, constants=softmax_table)
def softmax(op: Softmax, out: Array, x: Array, *, constants: Array) -> None:
    if x.size:
        compute = _softmax if constants.dtype == np.float32 else _fixed_softmax
        compute(x.reshape(-1, x.shape[-1]), constants, out.reshape(-1, x.shape[-1]))
