"""Naive kernels of the shape family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.shape import (
    BroadcastTo,
    Cast,
    Concat,
    ExpandDims,
    Flatten,
    GroupedCast,
    Pad,
    Reshape,
    ReshapeLike,
    Slice,
    Split,
    Squeeze,
    Transpose,
)
from edge_sdk.spec import Array


@kernel(Pad, "reference")
def pad(op: Pad, out: Array, x: Array) -> None:
    out[...] = np.pad(x, op.paddings, constant_values=op.value)


@kernel(Concat, "reference")
def concat(op: Concat, out: Array, *parts: Array) -> None:
    out[...] = np.concatenate(parts, axis=op.axis)


@kernel(Split, "reference")
def split(op: Split, out: Array | tuple[Array, ...], x: Array) -> None:
    parts = out if isinstance(out, tuple) else (out,)
    for part, piece in zip(parts, np.split(x, np.cumsum(op.sizes)[:-1], axis=op.axis), strict=True):
        part[...] = piece


@kernel(Slice, "reference")
def slice_block(op: Slice, out: Array, x: Array) -> None:
    out[...] = x[tuple(slice(begin, begin + size) for begin, size in zip(op.begin, out.shape, strict=True))]


@kernel(Reshape, "reference")
def reshape(op: Reshape, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(ReshapeLike, "reference")
def reshape_like(op: ReshapeLike, out: Array, x: Array, like: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(Flatten, "reference")
def flatten(op: Flatten, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(Transpose, "reference")
def transpose(op: Transpose, out: Array, x: Array) -> None:
    out[...] = x.transpose(op.permutation)


@kernel(Squeeze, "reference")
def squeeze(op: Squeeze, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(ExpandDims, "reference")
def expand_dims(op: ExpandDims, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(BroadcastTo, "reference")
def broadcast_to(op: BroadcastTo, out: Array, x: Array) -> None:
    out[...] = x


@kernel(Cast, "reference")
def cast(op: Cast, out: Array, x: Array) -> None:
    out[...] = x.astype(out.dtype)


@kernel(GroupedCast, "reference")
def grouped_cast(op: GroupedCast, out: Array | tuple[Array, ...], *xs: Array) -> None:
    for y, x in zip(out if isinstance(out, tuple) else (out,), xs, strict=True):
        y[...] = x.astype(y.dtype)
