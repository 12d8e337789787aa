"""Arithmetic element by element, with NumPy's broadcasting."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each
from edge_sdk.kernels.gpu.strides import broadcast_strides, strides
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Array

ACTIVATIONS: dict[Activation, int] = {None: 0, "relu": 1, "relu6": 2}
"""The enum Activation of CUDA sources."""


def arithmetic(kernel: str, out: Array, a: Array, b: Array, activation: Activation = None) -> Call:
    """Return the launch of one of the ARITHMETIC kernels of elementwise.cu."""
    dtype, after = a.dtype.name, np.int32(ACTIVATIONS[activation])
    if a.shape == b.shape:
        return for_each("elementwise", kernel, out.size, out, a, b, after, dtype=dtype)
    walked = strides(out.shape, *(broadcast_strides(x.shape, out.shape) for x in (a, b)))
    return for_each("elementwise", f"{kernel}_broadcast", out.size, out, a, b, walked, after, dtype=dtype)


@kernel(Add, "gpu", binds=True)
def add(op: Add, out: Array, a: Array, b: Array) -> Call:
    return arithmetic("add", out, a, b, op.activation)
