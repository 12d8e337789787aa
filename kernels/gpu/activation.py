"""Activation functions, element by element."""

from __future__ import annotations

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each, number
from edge_sdk.ops.activation import Relu, Relu6
from edge_sdk.spec import Array


def unary(kernel: str, out: Array, x: Array, p: float = 0, q: float = 0) -> Call:
    """Return the launch of a UNARY kernel in activation.cu."""
    dtype = x.dtype.name
    return for_each("activation", kernel, x.size, out, x, number(p, dtype), number(q, dtype), dtype=dtype)


@kernel(Relu, "gpu", binds=True)
def relu(op: Relu, out: Array, x: Array) -> Call:
    return unary("relu", out, x)


@kernel(Relu6, "gpu", binds=True)
def relu6(op: Relu6, out: Array, x: Array) -> Call:
    return unary("relu6", out, x)
