"""Pooling: direct loops, channels innermost."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, at_least, load, splat, store, where_equal, where_greater, zero
from edge_sdk.ops.geometry import resolve_padding
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


@parallel_jit
def _max_pool(x, y, size, stride, before):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, h, w, c = x.shape
    p, q = y.shape[1], y.shape[2]
    for task in prange(n * p):
        image, row = task // p, task % p
        top, bottom = max(row * stride[0] - before[0], 0), min(row * stride[0] - before[0] + size[0], h)
        for column in range(q):
            left, right = max(column * stride[1] - before[1], 0), min(column * stride[1] - before[1] + size[1], w)
            out = y[image, row, column]
            for e in range(c):
                out[e] = -np.inf
            for i in range(top, bottom):
                for j in range(left, right):
                    seen = x[image, i, j]
                    for e in range(c):
                        # What is no number stays: a diverged training is to show.
                        if seen[e] > out[e] or seen[e] != seen[e]:
                            out[e] = seen[e]


@kernel(MaxPool2D, "cpu")
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> None:
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], op.kernel, op.stride, (1, 1))
    _max_pool(x, out, op.kernel, op.stride, (top, left))


@jit
def _choose_vector(dy, slope, x, dx, start, step, rows, columns, e):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Send LANES slopes to the first largest element of a window, rows · columns pixels from element `start` on."""
    largest, place = splat(np.float32(-np.inf)), zero()
    for i in range(rows):
        for j in range(columns):
            seen, here = load(x, start + i * step[0] + j * step[1] + e), splat(np.float32(i * columns + j))
            place = where_greater(seen, largest, here, place)
            largest = at_least(largest, seen)
    slopes = load(dy, slope + e)
    for i in range(rows):
        for j in range(columns):
            to, here = start + i * step[0] + j * step[1] + e, splat(np.float32(i * columns + j))
            store(dx, to, load(dx, to) + where_equal(place, here, slopes, zero()))


@jit
def _choose_element(dy, slope, x, dx, start, step, rows, columns, e):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """As _choose_vector, for one element."""
    largest, place = np.float32(-np.inf), start + e
    for i in range(rows):
        for j in range(columns):
            here = start + i * step[0] + j * step[1] + e
            if x[here] > largest:
                largest, place = x[here], here
    dx[place] += dy[slope + e]


@parallel_jit
def _max_pool_grad(dy, x, dx, shape, cells, size, stride, before):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, h, w, c = shape
    p, q = cells
    for image in prange(n):
        for e in range(image * h * w * c, (image + 1) * h * w * c):
            dx[e] = 0.0
        for row in range(p):
            top, bottom = max(row * stride[0] - before[0], 0), min(row * stride[0] - before[0] + size[0], h)
            for column in range(q):
                left, right = max(column * stride[1] - before[1], 0), min(column * stride[1] - before[1] + size[1], w)
                if bottom <= top or right <= left:
                    continue
                start, slope = ((image * h + top) * w + left) * c, ((image * p + row) * q + column) * c
                window = (dy, slope, x, dx, start, (w * c, c), bottom - top, right - left)
                whole = c // LANES * LANES
                for e in range(0, whole, LANES):
                    _choose_vector(*window, e)
                for e in range(whole, c):
                    _choose_element(*window, e)


@kernel(MaxPool2DGrad, "cpu")
def max_pool2d_grad(op: MaxPool2DGrad, out: Array, dy: Array, x: Array) -> None:
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], op.kernel, op.stride, (1, 1))
    arrays = (dy.reshape(-1), x.reshape(-1), out.reshape(-1))
    _max_pool_grad(*arrays, x.shape, dy.shape[1:3], op.kernel, op.stride, (top, left))


def _windows(cells: int, extent: int, size: int, stride: int, before: int, after: int, *, count_padding: bool) -> Array:
    """For each cell of one axis: first and last + 1 index inside the image, and how many positions count."""
    start = np.arange(cells) * stride - before
    end = np.minimum(start + size, extent + after)
    first, last = np.maximum(start, 0), np.minimum(start + size, extent)
    inside = np.maximum(last - first, 0)
    return np.stack([first, last, end - start if count_padding else inside], axis=1).astype(np.int64)


def _pool_windows(op: AvgPool2D | AvgPool2DGrad, size: tuple[int, int], cells: tuple[int, int]) -> tuple[Array, Array]:
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    rows, columns = (
        _windows(n, extent, k, s, *pad, count_padding=op.count_padding)
        for n, extent, k, s, pad in zip(cells, size, op.kernel, op.stride, pads, strict=True)
    )
    return rows, columns


def _grid(extent: int, cells: int) -> Array:
    """The windows of adaptive pooling along one axis."""
    index = np.arange(cells)
    first, last = index * extent // cells, -(-(index + 1) * extent // cells)
    return np.stack([first, last, last - first], axis=1).astype(np.int64)


@parallel_jit
def _average(x: Array, y: Array, rows: Array, columns: Array) -> None:
    c = x.shape[3]
    p = y.shape[1]
    for task in prange(x.shape[0] * p):
        image, row = task // p, task % p
        for column in range(y.shape[2]):
            out = y[image, row, column]
            out[:] = 0.0
            for i in range(rows[row, 0], rows[row, 1]):
                for j in range(columns[column, 0], columns[column, 1]):
                    seen = x[image, i, j]
                    for e in range(c):
                        out[e] += seen[e]
            share = np.float32(1) / np.float32(max(rows[row, 2] * columns[column, 2], 1))
            for e in range(c):
                out[e] *= share


@parallel_jit
def _average_grad(dy: Array, dx: Array, rows: Array, columns: Array) -> None:
    c = dx.shape[3]
    for image in prange(dx.shape[0]):
        dx[image] = 0.0
        for row in range(dy.shape[1]):
            for column in range(dy.shape[2]):
                slope = dy[image, row, column]
                share = np.float32(1) / np.float32(max(rows[row, 2] * columns[column, 2], 1))
                for i in range(rows[row, 0], rows[row, 1]):
                    for j in range(columns[column, 0], columns[column, 1]):
                        to = dx[image, i, j]
                        for e in range(c):
                            to[e] += slope[e] * share


@kernel(AvgPool2D, "cpu")
def avg_pool2d(op: AvgPool2D, out: Array, x: Array) -> None:
    _average(x, out, *_pool_windows(op, x.shape[1:3], out.shape[1:3]))


@kernel(AvgPool2DGrad, "cpu")
def avg_pool2d_grad(op: AvgPool2DGrad, out: Array, dy: Array) -> None:
    _average_grad(dy, out, *_pool_windows(op, op.input_size, dy.shape[1:3]))


@kernel(AdaptiveAvgPool2D, "cpu")
def adaptive_avg_pool2d(op: AdaptiveAvgPool2D, out: Array, x: Array) -> None:
    _average(x, out, _grid(x.shape[1], op.size[0]), _grid(x.shape[2], op.size[1]))


@kernel(AdaptiveAvgPool2DGrad, "cpu")
def adaptive_avg_pool2d_grad(op: AdaptiveAvgPool2DGrad, out: Array, dy: Array) -> None:
    _average_grad(dy, out, _grid(op.input_size[0], dy.shape[1]), _grid(op.input_size[1], dy.shape[2]))


@kernel(GlobalAvgPool, "cpu")
def global_avg_pool(op: GlobalAvgPool, out: Array, x: Array) -> None:
    _average(x, out[:, np.newaxis, np.newaxis], _grid(x.shape[1], 1), _grid(x.shape[2], 1))


@kernel(GlobalAvgPoolGrad, "cpu")
def global_avg_pool_grad(op: GlobalAvgPoolGrad, out: Array, dy: Array) -> None:
    _average_grad(dy[:, np.newaxis, np.newaxis], out, _grid(op.input_size[0], 1), _grid(op.input_size[1], 1))
