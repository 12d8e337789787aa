"""Resizing: along rows, then along columns, by a table of two sources and weights for each output position."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.resize import Resize, ResizeGrad
from edge_sdk.spec import Array


def _table(op: Resize | ResizeGrad, source: int, target: int) -> tuple[Array, Array]:
    """Return positions (target, 2) and weights (target, 2) along one axis."""
    positions, weights = np.zeros((target, 2), np.int64), np.zeros((target, 2), np.float32)
    scale = (source - 1) / (target - 1) if op.align_corners and target > 1 else source / target
    for i in range(target):
        if op.method == "nearest":
            exact = (i + 0.5) * scale if op.half_pixel_centers else i * scale + (0.5 if op.align_corners else 0)
            positions[i] = min(math.floor(exact), source - 1)
            weights[i] = 1, 0
            continue
        exact = max((i + 0.5) * scale - 0.5, 0.0) if op.half_pixel_centers else i * scale
        low = min(math.floor(exact), source - 1)
        positions[i] = low, min(low + 1, source - 1)
        weights[i] = 1 - (exact - low), exact - low
    return positions, weights


@parallel_jit
def _resize(x, y, rows, row_weights, columns, column_weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, p, q, c = y.shape
    for task in prange(n * p):
        image, row = task // p, task % p
        for column in range(q):
            out = y[image, row, column]
            out[:] = 0.0
            for i in range(2):
                for j in range(2):
                    weight = row_weights[row, i] * column_weights[column, j]
                    seen = x[image, rows[row, i], columns[column, j]]
                    for e in range(c):
                        out[e] += weight * seen[e]


@parallel_jit
def _resize_grad(dy, dx, rows, row_weights, columns, column_weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, p, q, c = dy.shape
    for image in prange(n):
        dx[image] = 0.0
        for row in range(p):
            for column in range(q):
                slope = dy[image, row, column]
                for i in range(2):
                    for j in range(2):
                        weight = row_weights[row, i] * column_weights[column, j]
                        to = dx[image, rows[row, i], columns[column, j]]
                        for e in range(c):
                            to[e] += weight * slope[e]


@kernel(Resize, "cpu")
def resize(op: Resize, out: Array, x: Array) -> None:
    rows, columns = (_table(op, s, t) for s, t in zip(x.shape[1:3], op.size, strict=True))
    _resize(x, out, *rows, *columns)


@kernel(ResizeGrad, "cpu")
def resize_grad(op: ResizeGrad, out: Array, dy: Array) -> None:
    rows, columns = (_table(op, s, t) for s, t in zip(op.input_size, dy.shape[1:3], strict=True))
    _resize_grad(dy, out, *rows, *columns)
