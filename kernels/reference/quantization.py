"""Naive kernels of the quantization family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.spec import Array


@kernel(Quantize, "reference")
def quantize(op: Quantize, out: Array, x: Array) -> None:
    scaled = x.astype(np.float64) / op.scale
    rounded = np.where(scaled >= 0, np.floor(scaled + 0.5), np.ceil(scaled - 0.5))
    limits = np.iinfo(out.dtype)
    out[...] = np.clip(rounded + op.zero_point, limits.min, limits.max).astype(out.dtype)


@kernel(Dequantize, "reference")
def dequantize(op: Dequantize, out: Array, x: Array) -> None:
    out[...] = op.scale * (x.astype(np.float64) - op.zero_point)
