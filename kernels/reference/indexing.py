"""Naive kernels of the indexing family: the executable specification."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.indexing import Gather, GatherGrad, OneHot
from edge_sdk.spec import Array


@kernel(Gather, "reference")
def gather(op: Gather, out: Array, x: Array, indices: Array) -> None:
    out[...] = np.take(x, indices, axis=op.axis, mode="clip")


@kernel(GatherGrad, "reference")
def gather_grad(op: GatherGrad, out: Array, dy: Array, indices: Array, like: Array) -> None:
    rows, size = np.clip(indices.ravel(), 0, out.shape[op.axis] - 1), out.shape[op.axis]
    lead, rest = out.shape[: op.axis], out.shape[op.axis + 1 :]
    parts = dy.reshape(*lead, rows.size, *rest)
    summed = np.zeros((*lead, size, *rest), dy.dtype)
    before: tuple[Any, ...] = (slice(None),) * op.axis
    for position, row in enumerate(rows):
        summed[(*before, row)] += parts[(*before, position)]
    out[...] = summed


@kernel(OneHot, "reference")
def one_hot(op: OneHot, out: Array, indices: Array) -> None:
    out[...] = indices[..., np.newaxis] == np.arange(op.depth)
