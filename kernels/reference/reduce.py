"""Naive kernels of the reduce family: the executable specification."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.reduce import BroadcastLike, MeanScaleGrad, ReduceMax, ReduceMaxGrad, ReduceMean, ReduceSum
from edge_sdk.spec import Array


@kernel(ReduceSum, "reference")
def reduce_sum(op: ReduceSum, out: Array, x: Array) -> None:
    out[...] = x.sum(axis=op.axes, keepdims=op.keep_dims)


@kernel(ReduceMean, "reference")
def reduce_mean(op: ReduceMean, out: Array, x: Array) -> None:
    if x.dtype.kind in "iu" and not math.prod(x.shape[axis] for axis in op.axes):
        out[...] = 0  # what NumPy makes of it depends on the processor
    else:
        out[...] = x.mean(axis=op.axes, keepdims=op.keep_dims)


@kernel(MeanScaleGrad, "reference")
def mean_scale_grad(op: MeanScaleGrad, out: Array, dy: Array, like: Array) -> None:
    out[...] = dy / math.prod(like.shape[axis] for axis in op.axes)


@kernel(ReduceMax, "reference")
def reduce_max(op: ReduceMax, out: Array, x: Array) -> None:
    out[...] = x.max(axis=op.axes, keepdims=op.keep_dims)


@kernel(ReduceMaxGrad, "reference")
def reduce_max_grad(op: ReduceMaxGrad, out: Array, dy: Array, x: Array, y: Array) -> None:
    kept = tuple(1 if axis in op.axes else size for axis, size in enumerate(x.shape))
    largest = x == y.reshape(kept)
    out[...] = np.where(largest, dy.reshape(kept) / largest.sum(axis=op.axes, keepdims=True), 0)


@kernel(BroadcastLike, "reference")
def broadcast_like(op: BroadcastLike, out: Array, x: Array, like: Array) -> None:
    out[...] = x
