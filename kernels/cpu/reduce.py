"""Reductions over axes."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.reduce import BroadcastLike, MeanScaleGrad, ReduceMax, ReduceMaxGrad, ReduceMean, ReduceSum
from edge_sdk.spec import Array

BLOCK = 64  # channels that one task sums


@parallel_jit
def _sum_rows(x: Array, out: Array) -> None:
    """Out (c) = Σ over the rows of x (rows, c), in float64; a task owns a block of channels."""
    rows, channels = x.shape
    for task in prange((channels + BLOCK - 1) // BLOCK):
        begin, end = task * BLOCK, min(channels, task * BLOCK + BLOCK)
        total = np.zeros(BLOCK)
        for row in range(rows):
            for c in range(begin, end):
                total[c - begin] += x[row, c]
        for c in range(begin, end):
            out[c] = total[c - begin]


def sum_to(x: Array, axes: tuple[int, ...], out: Array) -> None:
    """Write the sum of x over `axes` to `out`, in float64 where the leading axes are summed."""
    if axes == tuple(range(len(axes))) and x.dtype == np.float32 and x.size:
        channels = math.prod(x.shape[len(axes) :])
        _sum_rows(x.reshape(-1, channels), out.reshape(-1))
        return
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    np.sum(x, axis=axes, keepdims=True, out=out.reshape(kept))


@kernel(ReduceSum, "cpu")
def reduce_sum(op: ReduceSum, out: Array, x: Array) -> None:
    sum_to(x, tuple(sorted(op.axes)), out)


@kernel(ReduceMean, "cpu")
def reduce_mean(op: ReduceMean, out: Array, x: Array) -> None:
    count = math.prod(x.shape[axis] for axis in op.axes)
    if x.dtype.kind not in "iu":
        sum_to(x, tuple(sorted(op.axes)), out)
        np.divide(out, count, out=out)
    elif count:
        np.copyto(out, x.mean(axis=op.axes, keepdims=op.keep_dims), casting="unsafe")
    else:
        out[...] = 0


@kernel(MeanScaleGrad, "cpu")
def mean_scale_grad(op: MeanScaleGrad, out: Array, dy: Array, like: Array) -> None:
    np.divide(dy, math.prod(like.shape[axis] for axis in op.axes), out=out)


@kernel(ReduceMax, "cpu")
def reduce_max(op: ReduceMax, out: Array, x: Array) -> None:
    kept = tuple(1 if axis in op.axes else size for axis, size in enumerate(x.shape))
    np.max(x, axis=op.axes, keepdims=True, out=out.reshape(kept))


@kernel(ReduceMaxGrad, "cpu")
def reduce_max_grad(op: ReduceMaxGrad, out: Array, dy: Array, x: Array, y: Array) -> None:
    kept = tuple(1 if axis in op.axes else size for axis, size in enumerate(x.shape))
    np.equal(x, y.reshape(kept), out=out, casting="unsafe")
    shares = dy.reshape(kept) / out.sum(axis=op.axes, keepdims=True)
    np.multiply(out, shares, out=out)


@kernel(BroadcastLike, "cpu")
def broadcast_like(op: BroadcastLike, out: Array, x: Array, like: Array) -> None:
    np.copyto(out, x)
