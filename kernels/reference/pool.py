"""Naive kernels of the pool family: the executable specification."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_sdk.kernel import kernel
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
from edge_sdk.spec import Array


def _windows(
    kernel_size: Pair, stride: Pair, padding: Padding, size: Pair, out_size: Pair
) -> Iterator[tuple[int, int, slice, slice, int]]:
    """For each output pixel the rows and columns inside the image, and how many pixels count with the padding."""
    (top, bottom), (left, right) = resolve_padding(padding, size, kernel_size, stride, (1, 1))
    for p in range(out_size[0]):
        for q in range(out_size[1]):
            row, column = p * stride[0] - top, q * stride[1] - left
            rows = min(row + kernel_size[0], size[0] + bottom) - row
            columns = min(column + kernel_size[1], size[1] + right) - column
            # A window may lie in the padding alone.
            inside_rows = slice(max(row, 0), max(min(row + kernel_size[0], size[0]), 0))
            inside_columns = slice(max(column, 0), max(min(column + kernel_size[1], size[1]), 0))
            yield p, q, inside_rows, inside_columns, rows * columns


@kernel(MaxPool2D, "reference")
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> None:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    for p, q, rows, columns, _ in _windows(op.kernel, op.stride, op.padding, x.shape[1:3], out.shape[1:3]):
        out[:, p, q] = x[:, rows, columns].max(axis=(1, 2), initial=lowest)


@kernel(MaxPool2DGrad, "reference")
def max_pool2d_grad(op: MaxPool2DGrad, out: Array, dy: Array, x: Array) -> None:
    out[...] = 0
    n, _, _, c = x.shape
    image, channel = np.meshgrid(np.arange(n), np.arange(c), indexing="ij")
    for p, q, rows, columns, _ in _windows(op.kernel, op.stride, op.padding, x.shape[1:3], dy.shape[1:3]):
        window = x[:, rows, columns]
        if window.size == 0:
            continue
        first = window.reshape(n, -1, c).argmax(axis=1)
        row, column = np.unravel_index(first, window.shape[1:3])
        out[image, rows.start + row, columns.start + column, channel] += dy[:, p, q]


def _counted(count_padding: bool, rows: slice, columns: slice, with_padding: int) -> int:
    inside = max(rows.stop - rows.start, 0) * max(columns.stop - columns.start, 0)
    return max(with_padding if count_padding else inside, 1)


@kernel(AvgPool2D, "reference")
def avg_pool2d(op: AvgPool2D, out: Array, x: Array) -> None:
    windows = _windows(op.kernel, op.stride, op.padding, x.shape[1:3], out.shape[1:3])
    for p, q, rows, columns, whole in windows:
        out[:, p, q] = x[:, rows, columns].sum(axis=(1, 2)) / _counted(op.count_padding, rows, columns, whole)


@kernel(AvgPool2DGrad, "reference")
def avg_pool2d_grad(op: AvgPool2DGrad, out: Array, dy: Array) -> None:
    out[...] = 0
    windows = _windows(op.kernel, op.stride, op.padding, op.input_size, dy.shape[1:3])
    for p, q, rows, columns, whole in windows:
        share = dy[:, p, q] / _counted(op.count_padding, rows, columns, whole)
        out[:, rows, columns] += share[:, np.newaxis, np.newaxis]


def _grid(extent: int, cells: int) -> list[slice]:
    return [slice(i * extent // cells, -(-(i + 1) * extent // cells)) for i in range(cells)]


@kernel(AdaptiveAvgPool2D, "reference")
def adaptive_avg_pool2d(op: AdaptiveAvgPool2D, out: Array, x: Array) -> None:
    for p, rows in enumerate(_grid(x.shape[1], op.size[0])):
        for q, columns in enumerate(_grid(x.shape[2], op.size[1])):
            out[:, p, q] = x[:, rows, columns].mean(axis=(1, 2))


@kernel(AdaptiveAvgPool2DGrad, "reference")
def adaptive_avg_pool2d_grad(op: AdaptiveAvgPool2DGrad, out: Array, dy: Array) -> None:
    out[...] = 0
    for p, rows in enumerate(_grid(op.input_size[0], dy.shape[1])):
        for q, columns in enumerate(_grid(op.input_size[1], dy.shape[2])):
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            out[:, rows, columns] += dy[:, p, q][:, np.newaxis, np.newaxis] / pixels


@kernel(GlobalAvgPool, "reference")
def global_avg_pool(op: GlobalAvgPool, out: Array, x: Array) -> None:
    out[...] = x.mean(axis=(1, 2))


@kernel(GlobalAvgPoolGrad, "reference")
def global_avg_pool_grad(op: GlobalAvgPoolGrad, out: Array, dy: Array) -> None:
    out[...] = dy[:, np.newaxis, np.newaxis] / (op.input_size[0] * op.input_size[1])
