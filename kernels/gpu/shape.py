"""Operators that move elements: copies of whole arrays or of boxes of them, and exchanges of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import (
    MAX_BLOCKS,
    THREADS,
    address_table,
    for_each,
    launch,
    nothing,
    number,
    sequence,
)
from edge_sdk.kernels.gpu.moves import WIDE, are_aligned, copy, move, unmerged_strides
from edge_sdk.kernels.gpu.strides import broadcast_strides, contiguous_strides, strides
from edge_sdk.kernels.gpu.update import on_device, pieces_of
from edge_sdk.ops.geometry import Pair
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
from edge_sdk.spec import Array, Spec, dtype_of

TILE, TILE_ROWS = 32, 8  # of transpose.cu


@kernel(Pad, "gpu", binds=True)
def pad(op: Pad, out: Array, x: Array) -> Call:
    return padded(out, x, op.paddings, op.value)


def padded(out: Array, x: Array, paddings: Sequence[Pair], value: float) -> Call:
    """Return the launch that stores x with so many of a value before and behind each axis."""
    if x.size == out.size:
        return copy(out, x)
    dtype, count, name = x.dtype.name, out.size, "pad"
    axes = _padded_axes(x.shape, paddings)
    lanes = WIDE // x.dtype.itemsize
    if all(each % lanes == 0 for each in axes[-1]) and are_aligned(out, x):
        axes[-1] = tuple(each // lanes for each in axes[-1])
        name, count = "pad_wide", count // lanes
    extents = [extent for extent, _, _ in axes]
    befores, sizes = [before for _, before, _ in axes], [sum(axis) for axis in axes]
    struct = unmerged_strides(sizes, contiguous_strides(extents), befores, extents)
    return for_each("shape", name, count, out, x, number(value, dtype), struct, dtype=dtype)


@kernel(Concat, "gpu", binds=True)
def concat(op: Concat, out: Array, *parts: Array) -> Call:
    calls, begin = [], 0
    own = contiguous_strides(out.shape)
    for part in parts:
        calls.append(move(out, part, part.shape, own, contiguous_strides(part.shape), begin * own[op.axis]))
        begin += part.shape[op.axis]
    return sequence(calls)


@kernel(Split, "gpu", binds=True)
def split(op: Split, out: Array | tuple[Array, ...], x: Array) -> Call:
    calls, begin = [], 0
    own = contiguous_strides(x.shape)
    for part in out if isinstance(out, tuple) else (out,):
        step = contiguous_strides(part.shape)
        calls.append(move(part, x, part.shape, step, own, x_begin=begin * own[op.axis]))
        begin += part.shape[op.axis]
    return sequence(calls)


@kernel(Slice, "gpu", binds=True)
def slice_block(op: Slice, out: Array, x: Array) -> Call:
    own = contiguous_strides(x.shape)
    begin = sum(first * step for first, step in zip(op.begin, own, strict=True))
    return move(out, x, out.shape, contiguous_strides(out.shape), own, x_begin=begin)


@kernel(Reshape, "gpu", binds=True)
def reshape(op: Reshape, out: Array, x: Array) -> Call:
    return copy(out, x)


@kernel(ReshapeLike, "gpu", binds=True)
def reshape_like(op: ReshapeLike, out: Array, x: Array, like: Array) -> Call:
    return copy(out, x)


@kernel(Flatten, "gpu", binds=True)
def flatten(op: Flatten, out: Array, x: Array) -> Call:
    return copy(out, x)


@kernel(Transpose, "gpu", binds=True)
def transpose(op: Transpose, out: Array, x: Array) -> Call:
    if x.size == 0:
        return nothing()
    own = contiguous_strides(x.shape)
    read = [own[axis] for axis in op.permutation]
    merged = strides(out.shape, read)
    sizes = [int(size) for size in merged["shape"][: int(merged["rank"])]]
    steps = [int(step) for step in merged["a"][: int(merged["rank"])]]
    if len(sizes) >= 2 and steps[-2] == 1 and steps[-1] == sizes[-2] and len(sizes) <= 3:
        return _exchange(out, x, columns=sizes[-2], rows=sizes[-1])
    return move(out, x, out.shape, contiguous_strides(out.shape), read)


def _exchange(out: Array, x: Array, *, columns: int, rows: int) -> Call:
    """Return the launch that makes x (images, rows, columns) an array (images, columns, rows)."""
    tiles = x.size // (columns * rows) * (-(-columns // TILE) * -(-rows // TILE))
    sizes = (np.int64(rows), np.int64(columns), np.int64(tiles))
    grid, block = (min(tiles, MAX_BLOCKS), 1, 1), (TILE, TILE_ROWS, 1)
    return launch("transpose", "exchange", grid, block, out, x, *sizes, dtype=x.dtype.name)


@kernel(Squeeze, "gpu", binds=True)
def squeeze(op: Squeeze, out: Array, x: Array) -> Call:
    return copy(out, x)


@kernel(ExpandDims, "gpu", binds=True)
def expand_dims(op: ExpandDims, out: Array, x: Array) -> Call:
    return copy(out, x)


@kernel(BroadcastTo, "gpu", binds=True)
def broadcast_to(op: BroadcastTo, out: Array, x: Array) -> Call:
    if x.size == out.size:
        return copy(out, x)
    return move(out, x, out.shape, contiguous_strides(out.shape), broadcast_strides(x.shape, out.shape))


@kernel(Cast, "gpu", binds=True)
def cast(op: Cast, out: Array, x: Array) -> Call:
    if x.dtype == out.dtype:
        return copy(out, x)
    return for_each("cast", f"cast_from_{dtype_of(x)}", out.size, out, x, dtype=out.dtype.name)


def _of_one_type(op: GroupedCast, *xs: Spec) -> bool:
    return len({x.dtype for x in xs}) == 1


@kernel(GroupedCast, "gpu", when=_of_one_type, binds=True)
def grouped_cast(op: GroupedCast, out: Array | tuple[Array, ...], *xs: Array) -> Call:
    """One launch, a block for each piece of an array."""
    pieces = pieces_of([x.size for x in xs])
    if not len(pieces):
        return nothing()
    ys = out if isinstance(out, tuple) else (out,)
    table = address_table([array for pair in zip(ys, xs, strict=True) for array in pair])
    grid, block, name = (len(pieces), 1, 1), (THREADS, 1, 1), f"casts_from_{dtype_of(xs[0])}"
    return launch("cast", name, grid, block, table, on_device(pieces), dtype=ys[0].dtype.name)


def _padded_axes(shape: Sequence[int], paddings: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Return (length, before, after) of each axis; one that is not padded is merged with the one before it."""
    axes: list[tuple[int, ...]] = []
    for length, (before, after) in zip(shape, paddings, strict=True):
        if axes and (before, after) == (0, 0):
            axes[-1] = tuple(each * length for each in axes[-1])
        else:
            axes.append((length, before, after))
    return axes
