"""Depthwise convolutions and their gradients, bound to the direct loops beside this file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.cpu.depthwise import (
    backward_taps,
    column_taps,
    forward_taps,
    has_neighbours,
    sum_taps,
    sum_taps_and_gather,
    sum_taps_multiplied,
)
from edge_sdk.kernels.cpu.depthwise_weight_gradient import add_parts, sum_products
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.row_statistics import are_many, compute_and_gather
from edge_sdk.ops.conv import DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.ops.statistics import DepthwiseConv2DStatistics, part_bounds
from edge_sdk.spec import Array, Spec

Depthwise: TypeAlias = DepthwiseConv2D | DepthwiseConv2DGradInput | DepthwiseConv2DGradWeight

GEOMETRIES = 1024  # kept: what depends on shapes alone is worked out once
PARTS = 16  # of a sum over images and rows; fixed, so that the bytes do not depend on the number of threads


def _axes(op: Depthwise, size: Pair, taps: Pair, cells: Pair) -> Iterator[tuple[int, int, int, int, int, int]]:
    """For rows and columns: outputs, pixels, taps, stride, padding before and dilation."""
    pads = resolve_padding(op.padding, size, taps, op.stride, op.dilation)
    for axis in (0, 1):
        yield cells[axis], size[axis], taps[axis], op.stride[axis], pads[axis][0], op.dilation[axis]


@lru_cache(GEOMETRIES)
def _forward(
    op: DepthwiseConv2D, size: Pair, taps: Pair, cells: Pair
) -> tuple[Array, Array, tuple[int, int], tuple[int, int]]:
    """Tables of rows and columns, and their steps in taps and in pixels."""
    rows, columns = (forward_taps(*axis) for axis in _axes(op, size, taps, cells))
    return rows[0], columns[0], (rows[1], columns[1]), (rows[2], columns[2])


@lru_cache(GEOMETRIES)
def backward_tables(
    op: DepthwiseConv2DGradInput, size: Pair, taps: Pair, cells: Pair
) -> tuple[Array, Array, tuple[int, int], tuple[int, int]]:
    """The same of an input gradient, whose outputs are the pixels."""
    axes = _axes(op, size, taps, cells)
    rows, columns = (backward_taps(pixels, outputs, *rest) for outputs, pixels, *rest in axes)
    return rows[0], columns[0], (rows[1], columns[1]), (rows[2], columns[2])


def _gathers(op: DepthwiseConv2DStatistics, x: Spec, w: Spec, *_: Spec) -> bool:
    """Whether rows of outputs are summed side by side, in parts enough for some threads."""
    n, p, q, filters = op.infer_outputs((x, w))[0].shape
    neighbours = has_neighbours(w.shape[2], op.stride[1], (1, op.dilation[1]))
    return filters == x.shape[3] and neighbours and are_many(n * p, q)


@kernel(DepthwiseConv2DStatistics, "cpu", algorithm="depthwise, gathering", when=_gathers, binds=True)
def depthwise_conv2d_gathering(
    op: DepthwiseConv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None
) -> Call:
    (y, statistics), (_, h, wide, channels) = out, x.shape
    n, p, q, _ = y.shape
    tables = _forward(op.convolution, (h, wide), w.shape[1:3], (p, q))
    flat = w.reshape(-1)
    arrays: tuple[Any, ...] = (x.reshape(-1), flat, flat[:0] if b is None else b, y.reshape(-1))
    where: tuple[Any, ...] = (w.shape[2], *tables, *LIMITS[None], op.stride[1])
    parts = (part_bounds(n * p, q), statistics.reshape(-1))
    return sum_taps_and_gather(*(*arrays, (h, wide), channels, *where, *parts))


@kernel(DepthwiseConv2DStatistics, "cpu", algorithm="depthwise, then statistics", binds=True)
def depthwise_conv2d_then_statistics(
    op: DepthwiseConv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None
) -> Call:
    y, statistics = out
    convolve = depthwise_conv2d(op.convolution, y, x, w, b)
    return Call(compute_and_gather, (convolve, y, part_bounds(y.shape[0] * y.shape[1], y.shape[2]), statistics))


@kernel(DepthwiseConv2D, "cpu", binds=True)
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> Call:
    (n, h, wide, channels), (_, p, q, filters) = x.shape, out.shape
    tables = _forward(op, (h, wide), w.shape[1:3], (p, q))
    flat = w.reshape(-1)
    arrays: tuple[Any, ...] = (x.reshape(-1), flat, flat[:0] if b is None else b, out.reshape(-1))
    where: tuple[Any, ...] = (w.shape[2], *tables, *LIMITS[op.activation])
    if filters == channels:
        return sum_taps(*(*arrays, n, (h, wide), channels, *where, op.stride[1]))
    return sum_taps_multiplied(*arrays, n, (h, wide), filters // channels, 1, filters, *where)


@kernel(DepthwiseConv2DGradInput, "cpu", binds=True)
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> Call:
    (n, h, wide, channels), (_, p, q, filters) = out.shape, dy.shape
    tables = backward_tables(op, (h, wide), w.shape[1:3], (p, q))
    flat = w.reshape(-1)
    arrays: tuple[Any, ...] = (dy.reshape(-1), flat, flat[:0], out.reshape(-1))
    where: tuple[Any, ...] = (w.shape[2], *tables, *LIMITS[None])
    if filters == channels:
        stride = 1 if op.stride[1] == 1 else 0
        return sum_taps(*(*arrays, n, (p, q), channels, *where, stride))
    return sum_taps_multiplied(*arrays, n, (p, q), 1, filters // channels, filters, *where)


def _parts(op: DepthwiseConv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return (Spec((PARTS, op.kernel_size[0] * op.kernel_size[1], dy.shape[3])),)


@kernel(DepthwiseConv2DGradWeight, "cpu", scratch=_parts)
def depthwise_conv2d_grad_weight(
    op: DepthwiseConv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> None:
    (n, h, wide, channels), (_, p, q, filters) = x.shape, dy.shape
    row_axis, column_axis = _axes(op, (h, wide), op.kernel_size, (p, q))
    rows, columns = forward_taps(*row_axis)[0], column_taps(*column_axis)
    sum_products(
        dy.reshape(-1), x.reshape(-1), scratch[0], n, (h, wide), channels, filters // channels, q, rows, columns,
        op.stride[1], op.dilation[0],
    )  # fmt: skip
    add_parts(scratch[0], out.reshape(-1))
