"""Dropout by a counter-based hash: the same mask as on any other device."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each, number
from edge_sdk.kernels.gpu.loops import map_elements
from edge_sdk.ops.random import Dropout
from edge_sdk.spec import Array


@kernel(Dropout, "gpu", binds=True)
def dropout(op: Dropout, out: Array, x: Array, step: Array | None = None) -> Call:
    if step is None:
        return map_elements("control", "copy", out, x)
    dtype, seed = x.dtype.name, np.uint64((op.seed << 48) % 2**64)
    # A 24-bit number is below rate · 2²⁴ exactly when it is below the next whole number.
    threshold, scale = np.uint64(math.ceil(op.rate * 2**24)), number(1 / (1 - op.rate), dtype)
    return for_each("random", "dropout", x.size, out, x, step, seed, threshold, scale, dtype=dtype)
