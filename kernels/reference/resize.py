"""Naive kernels of the resize family: the executable specification."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.resize import Resize, ResizeGrad
from edge_sdk.spec import Array


def mixing_matrix(method: str, source: int, target: int, *, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Return (target, source): with which weights each output pixel mixes the input pixels of one axis."""
    matrix = np.zeros((target, source))
    scale = (source - 1) / (target - 1) if align_corners and target > 1 else source / target
    for i in range(target):
        position = (i + 0.5) * scale - (0.5 if method == "bilinear" else 0) if half_pixel_centers else i * scale
        if method == "nearest":
            nearest = math.floor(position + 0.5) if align_corners else math.floor(position)
            matrix[i, min(max(nearest, 0), source - 1)] = 1
            continue
        position = max(position, 0.0)
        low = min(math.floor(position), source - 1)
        high = min(low + 1, source - 1)
        part = position - low
        matrix[i, low] += 1 - part
        matrix[i, high] += part
    return matrix


def _matrices(op: Resize | ResizeGrad, source: tuple[int, int], target: tuple[int, int]) -> tuple[Array, Array]:
    rows, columns = (
        mixing_matrix(op.method, s, t, align_corners=op.align_corners, half_pixel_centers=op.half_pixel_centers)
        for s, t in zip(source, target, strict=True)
    )
    return rows, columns


@kernel(Resize, "reference")
def resize(op: Resize, out: Array, x: Array) -> None:
    rows, columns = _matrices(op, x.shape[1:3], op.size)
    out[...] = np.einsum("ph,qw,nhwc->npqc", rows, columns, x)


@kernel(ResizeGrad, "reference")
def resize_grad(op: ResizeGrad, out: Array, dy: Array) -> None:
    rows, columns = _matrices(op, op.input_size, dy.shape[1:3])
    out[...] = np.einsum("ph,qw,npqc->nhwc", rows, columns, dy)
