"""Operators that move elements: NumPy's copies, which run at the speed of memory."""

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


@kernel(Pad, "cpu")
def pad(op: Pad, out: Array, x: Array) -> None:
    out.fill(op.value)
    out[tuple(slice(before, before + size) for (before, _), size in zip(op.paddings, x.shape, strict=True))] = x


@kernel(Concat, "cpu")
def concat(op: Concat, out: Array, *parts: Array) -> None:
    np.concatenate(parts, axis=op.axis, out=out)


@kernel(Split, "cpu")
def split(op: Split, out: Array | tuple[Array, ...], x: Array) -> None:
    parts = out if isinstance(out, tuple) else (out,)
    begin = 0
    for part, size in zip(parts, op.sizes, strict=True):
        part[...] = x[(slice(None),) * op.axis + (slice(begin, begin + size),)]
        begin += size


@kernel(Slice, "cpu")
def slice_block(op: Slice, out: Array, x: Array) -> None:
    out[...] = x[tuple(slice(begin, begin + size) for begin, size in zip(op.begin, out.shape, strict=True))]


@kernel(Reshape, "cpu")
def reshape(op: Reshape, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(ReshapeLike, "cpu")
def reshape_like(op: ReshapeLike, out: Array, x: Array, like: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(Flatten, "cpu")
def flatten(op: Flatten, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(Transpose, "cpu")
def transpose(op: Transpose, out: Array, x: Array) -> None:
    out[...] = x.transpose(op.permutation)


@kernel(Squeeze, "cpu")
def squeeze(op: Squeeze, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(ExpandDims, "cpu")
def expand_dims(op: ExpandDims, out: Array, x: Array) -> None:
    out[...] = x.reshape(out.shape)


@kernel(BroadcastTo, "cpu")
def broadcast_to(op: BroadcastTo, out: Array, x: Array) -> None:
    out[...] = x


@kernel(Cast, "cpu")
def cast(op: Cast, out: Array, x: Array) -> None:
    np.copyto(out, x, casting="unsafe")


@kernel(GroupedCast, "cpu")
def grouped_cast(op: GroupedCast, out: Array | tuple[Array, ...], *xs: Array) -> None:
    for y, x in zip(out if isinstance(out, tuple) else (out,), xs, strict=True):
        np.copyto(y, x, casting="unsafe")
