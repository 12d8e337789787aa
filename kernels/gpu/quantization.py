"""The borders between real numbers and their stored integers."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.arithmetic import VECTOR
from edge_sdk.quantization.tables import Border, border
from edge_sdk.spec import Array, Spec

ROUNDINGS = {"xnnpack": 0, "litert": 1, "reference": 2}
"""The enum Rounding of quantization.cu, by profile."""


def _is_float32(op: Quantize, x: Spec) -> bool:
    return x.dtype == "float32"


@kernel(Quantize, "gpu", when=_is_float32, constants=border, binds=True)
def quantize(op: Quantize, out: Array, x: Array, *, constants: Border) -> Call:
    limits = np.iinfo(out.dtype)
    numbers = (np.int32(ROUNDINGS[constants.profile]), constants.scale, constants.inverse)
    whole = np.int64(x.size // VECTOR * VECTOR)
    stored = (np.int32(op.zero_point), np.int32(limits.min), np.int32(limits.max))
    return for_each("quantization", "quantize", x.size, out, x, *numbers, whole, *stored, dtype=out.dtype.name)


@kernel(Dequantize, "gpu", binds=True)
def dequantize(op: Dequantize, out: Array, x: Array) -> Call:
    numbers = (np.float32(op.scale), np.int32(op.zero_point))
    return for_each("quantization", "dequantize", x.size, out, x, *numbers, dtype=x.dtype.name)
