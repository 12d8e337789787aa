"""The borders between real numbers and their stored integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import VECTOR
from edge_sdk.quantization.tables import Border, border
from edge_sdk.spec import Array


@parallel_jit
def _quantize_even(x: Array, y: Array, inverse: float, zero_point: int, low: int, high: int) -> None:
    for i in prange(x.size):
        y[i] = min(max(np.rint(x[i] * inverse) + zero_point, low), high)


@jit
def _stored(scaled: float, zero_point: int, low: int, high: int) -> Any:
    """A number stored with halves away from zero."""
    whole = np.trunc(scaled)
    rest = scaled - whole
    return min(max(whole + (rest >= 0.5) - (rest <= -0.5) + zero_point, low), high)


@parallel_jit
def _quantize_away(x: Array, y: Array, start: int, scale: float, zero_point: int, low: int, high: int) -> None:
    for i in prange(start, x.size):
        y[i] = _stored(x[i] / scale, zero_point, low, high)


@parallel_jit
def _quantize_vectors(x: Array, y: Array, end: int, inverse: float, zero_point: int, low: int, high: int) -> None:
    for i in prange(end):
        scaled = x[i] * inverse
        # The sum is rounded, which takes some numbers just below a half up.
        moved = scaled + (np.float32(0.5) if scaled >= 0 else np.float32(-0.5))
        y[i] = min(max(np.trunc(moved) + zero_point, low), high)


@kernel(Quantize, "cpu", constants=border)
def quantize(op: Quantize, out: Array, x: Array, *, constants: Border) -> None:
    limits = np.iinfo(out.dtype)
    given, stored, rest = x.reshape(-1), out.reshape(-1), (op.zero_point, limits.min, limits.max)
    if constants.profile == "xnnpack":
        _quantize_even(given, stored, constants.inverse, *rest)
    elif constants.profile == "litert":
        whole = x.size // VECTOR * VECTOR
        _quantize_vectors(given, stored, whole, constants.inverse, *rest)
        _quantize_away(given, stored, whole, float(constants.scale), *rest)
    else:
        _quantize_away(given, stored, 0, constants.scale, *rest)


@parallel_jit
def _dequantize(x: Array, y: Array, scale: float, zero_point: int) -> None:
    for i in prange(x.size):
        y[i] = scale * (x[i] - zero_point)


@kernel(Dequantize, "cpu")
def dequantize(op: Dequantize, out: Array, x: Array) -> None:
    _dequantize(x.reshape(-1), out.reshape(-1), op.scale, op.zero_point)
