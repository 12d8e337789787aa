"""Pooling: windows along two axes, worked out in the kernels from a few numbers each."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import MAX_BLOCKS, for_each, launch, nothing, sequence
from edge_sdk.kernels.gpu.moves import lanes_of
from edge_sdk.ops.geometry import Padding, Pair, resolve_padding
from edge_sdk.ops.pool import (
    AdaptiveAvgPool2D,
    AdaptiveAvgPool2DGrad,
    AvgPool2D,
    AvgPool2DGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    MaxPool2D,
    MaxPool2DGrad,
)
from edge_sdk.spec import Array, Spec

AXIS = np.dtype(
    [(field, "i4") for field in ("extent", "cells", "kernel", "stride", "before", "after", "count_padding")], align=True
)
"""The struct Axis of pool.cu."""
BYTE_PLACES = 256  # of a kernel, that one byte can tell apart
CHANNELS, ROWS, MANY_ROWS, MANY_PIXELS = (
    32,
    8,
    32,
    1024,
)  # of a block of global_pool.cu, and from when on it has many rows

Axes = tuple[np.void, np.void]


def windows(
    size: Pair, cells: Pair, kernel: Pair, stride: Pair, padding: Padding, *, count_padding: bool = False
) -> Axes:
    """Return the structs of both axes for windows that slide over images of `size` into `cells`."""
    pads = resolve_padding(padding, size, kernel, stride, (1, 1))
    return (
        _axis(size[0], cells[0], kernel[0], stride[0], *pads[0], count_padding=count_padding),
        _axis(size[1], cells[1], kernel[1], stride[1], *pads[1], count_padding=count_padding),
    )


def grid(size: Pair, cells: Pair) -> Axes:
    """Return the structs of both axes for adaptive pooling."""
    return _axis(size[0], cells[0], 0, 1, 0, 0), _axis(size[1], cells[1], 0, 1, 0, 0)


@kernel(MaxPool2D, "gpu", binds=True)
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> Call:
    return _pool("max_pool", out, x, windows(_size(x), _size(out), op.kernel, op.stride, op.padding))


def _choices(op: MaxPool2DGrad, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return (Spec(dy.shape, "uint8" if op.kernel[0] * op.kernel[1] <= BYTE_PLACES else "int32"),)


@kernel(MaxPool2DGrad, "gpu", binds=True, scratch=_choices)
def max_pool2d_grad(op: MaxPool2DGrad, out: Array, dy: Array, x: Array, *, scratch: tuple[Array]) -> Call:
    (choice,) = scratch
    axes, c = windows(_size(x), _size(dy), op.kernel, op.stride, op.padding), x.shape[3]
    lanes = lanes_of(c, out, dy, x) if choice.dtype == np.uint8 else 1
    suffix = "_numbers" if choice.dtype != np.uint8 else "_bytes_wide" if lanes > 1 else "_bytes"
    last, dtype = (*axes, np.int32(c)), x.dtype.name
    return sequence(
        [
            for_each("pool", f"choose{suffix}", dy.size // lanes, choice, x, *last, dtype=dtype),
            for_each("pool", f"largest_grad{suffix}", out.size // lanes, out, dy, choice, *last, dtype=dtype),
        ]
    )


@kernel(AvgPool2D, "gpu", binds=True)
def avg_pool2d(op: AvgPool2D, out: Array, x: Array) -> Call:
    sizes = (_size(x), _size(out))
    axes = windows(*sizes, op.kernel, op.stride, op.padding, count_padding=op.count_padding)
    return _pool("average_pool", out, x, axes)


@kernel(AvgPool2DGrad, "gpu", binds=True)
def avg_pool2d_grad(op: AvgPool2DGrad, out: Array, dy: Array) -> Call:
    sizes = (op.input_size, _size(dy))
    axes = windows(*sizes, op.kernel, op.stride, op.padding, count_padding=op.count_padding)
    return _pool("average_pool_grad", out, dy, axes)


@kernel(AdaptiveAvgPool2D, "gpu", binds=True)
def adaptive_avg_pool2d(op: AdaptiveAvgPool2D, out: Array, x: Array) -> Call:
    if op.size == (1, 1):
        return _global_pool(out, x)
    return _pool("average_pool", out, x, grid(_size(x), op.size))


@kernel(AdaptiveAvgPool2DGrad, "gpu", binds=True)
def adaptive_avg_pool2d_grad(op: AdaptiveAvgPool2DGrad, out: Array, dy: Array) -> Call:
    return _pool("average_pool_grad", out, dy, grid(op.input_size, _size(dy)))


@kernel(GlobalAvgPool, "gpu", binds=True)
def global_avg_pool(op: GlobalAvgPool, out: Array, x: Array) -> Call:
    return _global_pool(out, x)


@kernel(GlobalAvgPoolGrad, "gpu", binds=True)
def global_avg_pool_grad(op: GlobalAvgPoolGrad, out: Array, dy: Array) -> Call:
    return _pool("average_pool_grad", out, dy, grid(op.input_size, (1, 1)))


def _pool(name: str, out: Array, x: Array, axes: Axes) -> Call:
    c = x.shape[-1]
    lanes = lanes_of(c, out, x)
    kernel_name = f"{name}_wide" if lanes > 1 else name
    return for_each("pool", kernel_name, out.size // lanes, out, x, *axes, np.int32(c), dtype=x.dtype.name)


def _global_pool(out: Array, x: Array) -> Call:
    n, h, w, c = x.shape
    blocks = n * -(-c // CHANNELS)
    if blocks == 0:
        return nothing()
    rows = MANY_ROWS if h * w >= MANY_PIXELS else ROWS
    values = (out, x, np.int64(h * w), np.int32(c), np.int64(blocks))
    launch_grid, block = (min(blocks, MAX_BLOCKS), 1, 1), (CHANNELS, rows, 1)
    return launch("global_pool", "global_pool", launch_grid, block, *values, dtype=x.dtype.name)


def _axis(
    extent: int, cells: int, kernel: int, stride: int, before: int, after: int, *, count_padding: bool = False
) -> np.void:
    return np.void((extent, cells, kernel, stride, before, after, count_padding), AXIS)


def _size(images: Array) -> Pair:
    return images.shape[1], images.shape[2]
