"""Naive kernels of the quantization family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import VECTOR
from edge_sdk.quantization.tables import Border, border
from edge_sdk.spec import Array


@kernel(Quantize, "reference", constants=border)
def quantize(op: Quantize, out: Array, x: Array, *, constants: Border) -> None:
    whole = x.size // VECTOR * VECTOR
    flat, limits = x.astype(np.float32).reshape(-1), np.iinfo(out.dtype)
    parts = constants.steps(flat[:whole], together=True), constants.steps(flat[whole:], together=False)
    steps = np.concatenate(parts)
    out[...] = np.clip(steps + op.zero_point, limits.min, limits.max).astype(out.dtype).reshape(out.shape)


@kernel(Dequantize, "reference")
def dequantize(op: Dequantize, out: Array, x: Array) -> None:
    out[...] = op.scale * (x.astype(np.float64) - op.zero_point)
