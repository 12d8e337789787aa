"""The borders between real numbers and their stored integers."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.spec import Array


@parallel_jit
def _quantize(x: Array, y: Array, scale: float, zero_point: int, low: int, high: int) -> None:
    for i in prange(x.size):
        scaled = x[i] / scale
        rounded = np.floor(scaled + 0.5) if scaled >= 0 else np.ceil(scaled - 0.5)
        y[i] = min(max(rounded + zero_point, low), high)


@kernel(Quantize, "cpu")
def quantize(op: Quantize, out: Array, x: Array) -> None:
    limits = np.iinfo(out.dtype)
    _quantize(x.reshape(-1), out.reshape(-1), op.scale, op.zero_point, limits.min, limits.max)


@parallel_jit
def _dequantize(x: Array, y: Array, scale: float, zero_point: int) -> None:
    for i in prange(x.size):
        y[i] = scale * (x[i] - zero_point)


@kernel(Dequantize, "cpu")
def dequantize(op: Dequantize, out: Array, x: Array) -> None:
    _dequantize(x.reshape(-1), out.reshape(-1), op.scale, op.zero_point)
