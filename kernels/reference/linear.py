"""Naive kernels of the linear family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.reference.elementwise import activated
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array


@kernel(Linear, "reference")
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None) -> None:
    out[...] = activated(op.activation, np.einsum("ni,oi->no", x, w) + (0 if b is None else b))


@kernel(MatMul, "reference")
def matmul(op: MatMul, out: Array, a: Array, b: Array) -> None:
    left = "...ji" if op.transpose_a else "...ij"
    right = "...kj" if op.transpose_b else "...jk"
    out[...] = np.einsum(f"{left},{right}->...ik", a, b)
