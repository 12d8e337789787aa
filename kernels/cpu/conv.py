"""Convolutions: matrix products on what every output sees of the image; depthwise ones are direct loops."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu import winograd
from edge_sdk.kernels.cpu.depthwise import (
    add_parts,
    backward_taps,
    column_taps,
    forward_taps,
    sum_products,
    sum_taps,
    sum_taps_multiplied,
)
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import Grid, multiply_window, packed_size, product_scratch
from edge_sdk.kernels.cpu.jit import threads
from edge_sdk.kernels.cpu.packing import pack_columns, pack_rows
from edge_sdk.kernels.cpu.patches import Window, whole_rows
from edge_sdk.kernels.cpu.weight_gradient import weight_gradient, weight_gradient_scratch
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.spec import Array, Spec

Dense: TypeAlias = Conv2D | Conv2DGradInput | Conv2DGradWeight
Depthwise: TypeAlias = DepthwiseConv2D | DepthwiseConv2DGradInput | DepthwiseConv2DGradWeight

GEOMETRIES = 1024  # kept: what depends on shapes alone is worked out once
PARTS = 16  # of a sum over images and rows; fixed, so that the bytes do not depend on the number of threads


@lru_cache(GEOMETRIES)
def _window(op: Dense, x: tuple[int, ...], kernel_size: Pair, cells: Pair, group: int = 0) -> Window:
    """What each of `cells` outputs sees of images of shape x (n, h, w, c)."""
    n, h, w, c = x
    (top, _), (left, _) = resolve_padding(op.padding, (h, w), kernel_size, op.stride, op.dilation)
    if kernel_size == (1, 1) and op.stride == (1, 1) and cells == (h, w) and op.groups == 1:
        return whole_rows(n * h * w, c)
    depth = c // op.groups
    return Window(h, w, c, group * depth, depth, *kernel_size, *op.stride, -top, -left, *op.dilation, *cells)


def _winograd_applies(op: Dense, kernel_size: Pair, channels: int, outputs: int) -> bool:
    plain = op.stride == (1, 1) and op.dilation == (1, 1) and op.groups == 1
    return plain and kernel_size == (3, 3) and winograd.fits(channels, outputs)


@lru_cache(GEOMETRIES)
def _layer(op: Dense, x: tuple[int, ...], y: tuple[int, ...]) -> winograd.Layer:
    """A 3×3 convolution of stride 1 from shape x to shape y."""
    (top, _), (left, _) = resolve_padding(op.padding, (x[1], x[2]), (3, 3), op.stride, op.dilation)
    return winograd.Layer(*(*x, -top, -left, *y[1:]))


def _is_winograd(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None) -> bool:
    return _winograd_applies(op, (w.shape[1], w.shape[2]), x.shape[3], w.shape[0])


def _winograd_scratch(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    return winograd.convolve_scratch(_layer(op, x.shape, op.infer_outputs((x, w))[0].shape))


@kernel(Conv2D, "cpu", algorithm="winograd 4x4", when=_is_winograd, scratch=_winograd_scratch)
def conv2d_winograd(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]
) -> None:
    own, u = scratch
    nothing = u[:0]
    winograd.transform_weights(w.reshape(-1), w.shape[0], w.shape[3], u, own)
    layer = _layer(op, x.shape, out.shape)
    winograd.convolve(x, layer, u, out, own, nothing if b is None else b, nothing, LIMITS[op.activation])


def _forward_scratch(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    _, p, q, k = op.infer_outputs((x, w))[0].shape
    window, outputs = _window(op, x.shape, (w.shape[1], w.shape[2]), (p, q)), k // op.groups
    images = x.elements // (window.height * window.width * window.channels)
    return product_scratch(images, window, outputs), Spec((packed_size(window.size, outputs),))


@kernel(Conv2D, "cpu", algorithm="patches", scratch=_forward_scratch)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> None:
    own, packed = scratch
    _, p, q, k = out.shape
    outputs, depth = k // op.groups, w.size // k
    nothing = packed[:0]
    for group in range(op.groups):
        first = group * outputs
        pack_columns(w.reshape(-1), first * depth, outputs, depth, depth, packed)
        multiply_window(
            x, _window(op, x.shape, w.shape[1:3], (p, q), group), packed, outputs, out, _whole_grid(out.shape, first),
            own, nothing if b is None else b[first : first + outputs], nothing, LIMITS[op.activation],
        )  # fmt: skip


@lru_cache(GEOMETRIES)
def _whole_grid(out: tuple[int, ...], first: int) -> Grid:
    _, h, w, c = out
    return Grid(h, w, c, first, 0, 0, 1, 1)


def _grad_input_is_winograd(op: Conv2DGradInput, dy: Spec, w: Spec) -> bool:
    return _winograd_applies(op, (w.shape[1], w.shape[2]), dy.shape[3], w.shape[3])


@lru_cache(GEOMETRIES)
def _transposed_layer(op: Conv2DGradInput, dy: tuple[int, ...], dx: tuple[int, ...]) -> winograd.Layer:
    """The convolution of dy with the reversed weights."""
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, (3, 3), op.stride, op.dilation)
    return winograd.Layer(*(*dy, top - 2, left - 2, *dx[1:]))


def _grad_input_winograd_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    return winograd.convolve_scratch(_transposed_layer(op, dy.shape, op.infer(dy, w).shape))


@kernel(
    Conv2DGradInput, "cpu", algorithm="winograd 4x4", when=_grad_input_is_winograd, scratch=_grad_input_winograd_scratch
)
def conv2d_grad_input_winograd(
    op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...]
) -> None:
    own, u = scratch
    nothing = u[:0]
    winograd.transform_flipped_weights(w.reshape(-1), w.shape[0], w.shape[3], u)
    layer = _transposed_layer(op, dy.shape, out.shape)
    winograd.convolve(dy, layer, u, out, own, nothing, nothing, LIMITS[None])


class _Axis:
    """The rows (or columns) p = phase + i · stride of an input gradient, and the taps that met them.

    Tap t met position p at output (p + before - t · dilation) / stride. Of the taps that divide evenly, each next one
    reads an output a fixed step earlier, so the phase is a convolution of dy in its own right.
    """

    def __init__(self, phase: int, extent: int, taps: int, stride: int, before: int, dilation: int) -> None:
        met = [t for t in range(taps) if (phase + before - t * dilation) % stride == 0]
        outputs = [(phase + before - t * dilation) // stride for t in met]
        self.phase = phase
        self.cells = len(range(phase, extent, stride))
        self.taps = met[::-1]
        self.first = min(outputs, default=0)
        self.dilation = outputs[0] - outputs[1] if len(outputs) > 1 else 1


class _Phase(NamedTuple):
    """The pixels of an input gradient that have the same remainder by the stride."""

    window: Window
    """What they see of dy."""
    grid: Grid
    starts: Array
    """Where the weights of the taps that met them start, in the order in which dy is seen."""


@lru_cache(GEOMETRIES)
def _phases(op: Conv2DGradInput, dy: tuple[int, ...], w: tuple[int, ...], group: int) -> list[_Phase]:
    (n, p, q, k), (_, r, s, channels) = dy, w
    pads = resolve_padding(op.padding, op.input_size, (r, s), op.stride, op.dilation)
    rows, columns = (
        [
            _Axis(phase, op.input_size[axis], (r, s)[axis], op.stride[axis], pads[axis][0], op.dilation[axis])
            for phase in range(min(op.stride[axis], op.input_size[axis]))
        ]
        for axis in (0, 1)
    )
    depth = k // op.groups
    phases = []
    for row in rows:
        for column in columns:
            taps, cells, first = (len(row.taps), len(column.taps)), (row.cells, column.cells), (row.first, column.first)
            steps = (row.dilation, column.dilation)
            window = Window(p, q, k, group * depth, depth, *taps, 1, 1, *first, *steps, *cells)
            if (taps, cells, first, op.stride, op.groups) == ((1, 1), (p, q), (0, 0), (1, 1), 1):
                window = whole_rows(n * p * q, k)
            grid = Grid(*op.input_size, channels * op.groups, group * channels, row.phase, column.phase, *op.stride)
            chosen = np.array([i * s + j for i in row.taps for j in column.taps], np.int64)
            phases.append(_Phase(window, grid, (group * depth * r * s + chosen) * channels))
    return phases


def _grad_input_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    channels, rows = w.shape[3], Spec((threads(), 0))
    packed = 0
    for window, _, starts in _phases(op, dy.shape, w.shape, 0):
        if len(starts):
            images = dy.elements // (window.height * window.width * window.channels)
            rows = max(rows, product_scratch(images, window, channels), key=lambda spec: spec.shape[1])
            packed = max(packed, packed_size(window.size, channels))
    return rows, Spec((packed,))


@kernel(Conv2DGradInput, "cpu", algorithm="patches", scratch=_grad_input_scratch)
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...]) -> None:
    """One convolution of dy, with some of the weights, for each phase of the stride."""
    own, packed = scratch
    k, r, s, channels = w.shape
    nothing = packed[:0]
    for group in range(op.groups):
        phases = _phases(op, dy.shape, w.shape, group)
        if group == 0 and not all(len(phase.starts) for phase in phases):
            out.fill(0)
        for window, grid, starts in phases:
            if len(starts):
                pack_rows(w.reshape(-1), starts, k // op.groups, channels, r * s * channels, packed)
                multiply_window(dy, window, packed, channels, out, grid, own, nothing, nothing, LIMITS[None])


def _grad_weight_is_winograd(op: Conv2DGradWeight, dy: Spec, x: Spec) -> bool:
    return _winograd_applies(op, op.kernel_size, x.shape[3], dy.shape[3])


def _grad_weight_winograd_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return winograd.weight_gradient_scratch(_layer(op, x.shape, dy.shape))


@kernel(
    Conv2DGradWeight,
    "cpu",
    algorithm="winograd 4x4",
    when=_grad_weight_is_winograd,
    scratch=_grad_weight_winograd_scratch,
)
def conv2d_grad_weight_winograd(
    op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> None:
    winograd.weight_gradient(dy, x, _layer(op, x.shape, dy.shape), out, scratch)


def _grad_weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    n, p, q, k = dy.shape
    return weight_gradient_scratch(k // op.groups, n * p * q, _window(op, x.shape, op.kernel_size, (p, q)))


@kernel(Conv2DGradWeight, "cpu", algorithm="patches", scratch=_grad_weight_scratch)
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]) -> None:
    p, q, k = dy.shape[1:]
    outputs, depth = k // op.groups, out.size // k
    for group in range(op.groups):
        window = _window(op, x.shape, op.kernel_size, (p, q), group)
        weight_gradient(dy, group * outputs, outputs, x, window, out, group * outputs * depth, scratch)


def _axes(op: Depthwise, size: Pair, taps: Pair, cells: Pair) -> Iterator[tuple[int, int, int, int, int, int]]:
    """For rows and columns: outputs, pixels, taps, stride, padding before and dilation."""
    pads = resolve_padding(op.padding, size, taps, op.stride, op.dilation)
    for axis in (0, 1):
        yield cells[axis], size[axis], taps[axis], op.stride[axis], pads[axis][0], op.dilation[axis]


@kernel(DepthwiseConv2D, "cpu")
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> None:
    (n, h, wide, channels), (_, p, q, filters) = x.shape, out.shape
    rows, columns = (forward_taps(*axis) for axis in _axes(op, (h, wide), w.shape[1:3], (p, q)))
    flat = w.reshape(-1)
    arrays = (x.reshape(-1), flat, flat[:0] if b is None else b, out.reshape(-1))
    where = (w.shape[2], rows[0], columns[0], (rows[1], columns[1]), (rows[2], columns[2]), *LIMITS[op.activation])
    if filters == channels:
        sum_taps(*arrays, n, (h, wide), channels, *where)
    else:
        sum_taps_multiplied(*arrays, n, (h, wide), filters // channels, 1, filters, *where)


@kernel(DepthwiseConv2DGradInput, "cpu")
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> None:
    (n, h, wide, channels), (_, p, q, filters) = out.shape, dy.shape
    axes = _axes(op, (h, wide), w.shape[1:3], (p, q))
    rows, columns = (backward_taps(pixels, outputs, *rest) for outputs, pixels, *rest in axes)
    flat = w.reshape(-1)
    arrays = (dy.reshape(-1), flat, flat[:0], out.reshape(-1))
    where = (w.shape[2], rows[0], columns[0], (rows[1], columns[1]), (rows[2], columns[2]), *LIMITS[None])
    if filters == channels:
        sum_taps(*arrays, n, (p, q), channels, *where)
    else:
        sum_taps_multiplied(*arrays, n, (p, q), 1, filters // channels, filters, *where)


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
