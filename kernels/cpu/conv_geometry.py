"""What the outputs of a convolution see of images, and where results go: geometry worked out once for every shape."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from edge_sdk.kernels.cpu import winograd
from edge_sdk.kernels.cpu.gemm import Grid
from edge_sdk.kernels.cpu.patches import Window, whole_rows
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.ops.geometry import Pair, resolve_padding

Dense: TypeAlias = Conv2D | Conv2DGradInput | Conv2DGradWeight

GEOMETRIES = 1024  # kept: what depends on shapes alone is worked out once


@lru_cache(GEOMETRIES)
def window_of(op: Dense, x: tuple[int, ...], kernel_size: Pair, cells: Pair, group: int = 0) -> Window:
    """What each of `cells` outputs sees of images of shape x (n, h, w, c)."""
    n, h, w, c = x
    (top, _), (left, _) = resolve_padding(op.padding, (h, w), kernel_size, op.stride, op.dilation)
    if kernel_size == (1, 1) and op.stride == (1, 1) and cells == (h, w) and op.groups == 1:
        return whole_rows(n * h * w, c)
    depth = c // op.groups
    return Window(h, w, c, group * depth, depth, *kernel_size, *op.stride, -top, -left, *op.dilation, *cells)


def winograd_applies(op: Dense, kernel_size: Pair, channels: int, outputs: int) -> bool:
    plain = op.stride == (1, 1) and op.dilation == (1, 1) and op.groups == 1
    return plain and kernel_size == (3, 3) and winograd.fits(channels, outputs)


@lru_cache(GEOMETRIES)
def winograd_layer(op: Dense, x: tuple[int, ...], y: tuple[int, ...]) -> winograd.Layer:
    """A 3×3 convolution of stride 1 from shape x to shape y."""
    (top, _), (left, _) = resolve_padding(op.padding, (x[1], x[2]), (3, 3), op.stride, op.dilation)
    return winograd.Layer(*(*x, -top, -left, *y[1:]))


@lru_cache(GEOMETRIES)
def transposed_layer(op: Conv2DGradInput, dy: tuple[int, ...], dx: tuple[int, ...]) -> winograd.Layer:
    """The convolution of dy with the reversed weights."""
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, (3, 3), op.stride, op.dilation)
    return winograd.Layer(*(*dy, top - 2, left - 2, *dx[1:]))


@lru_cache(GEOMETRIES)
def whole_grid(out: tuple[int, ...], first: int) -> Grid:
    _, h, w, c = out
    return Grid(h, w, c, first, 0, 0, 1, 1)
