"""Selecting by index."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.indexing import Gather, GatherGrad, OneHot
from edge_sdk.spec import Array


@kernel(Gather, "cpu")
def gather(op: Gather, out: Array, x: Array, indices: Array) -> None:
    np.take(x, indices, axis=op.axis, mode="clip", out=out)


@parallel_jit
def _scatter_add(dy: Array, indices: Array, dx: Array) -> None:
    """dx[a, indices[i], b] += dy[a, i, b], in the order of i."""
    for a in prange(dx.shape[0]):
        dx[a] = 0.0
        for i in range(indices.size):
            row = min(max(indices[i], 0), dx.shape[1] - 1)
            for b in range(dx.shape[2]):
                dx[a, row, b] += dy[a, i, b]


@kernel(GatherGrad, "cpu")
def gather_grad(op: GatherGrad, out: Array, dy: Array, indices: Array, like: Array) -> None:
    lead, rest = math.prod(out.shape[: op.axis]), math.prod(out.shape[op.axis + 1 :])
    rows = indices.reshape(-1)
    _scatter_add(dy.reshape(lead, rows.size, rest), rows, out.reshape(lead, out.shape[op.axis], rest))


@kernel(OneHot, "cpu")
def one_hot(op: OneHot, out: Array, indices: Array) -> None:
    np.equal(indices[..., np.newaxis], np.arange(op.depth), out=out, casting="unsafe")
