"""Resizing: by a table of two sources and weights for each output position along each axis."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.launch import for_each
from edge_sdk.kernels.gpu.moves import lanes_of
from edge_sdk.ops.resize import Resize, ResizeGrad
from edge_sdk.spec import Array


@kernel(Resize, "gpu", binds=True)
def resize(op: Resize, out: Array, x: Array) -> Call:
    if out.size == 0:
        return for_each("resize", "resize", 0)
    tables = [_table(op, s, t) for s, t in zip(x.shape[1:3], op.size, strict=True)]
    placed = [_on_device(array, x.dtype.name) for table in tables for array in table]
    return _launch("resize", out, x, placed, (*x.shape[1:3], *op.size))


@kernel(ResizeGrad, "gpu", binds=True)
def resize_grad(op: ResizeGrad, out: Array, dy: Array) -> Call:
    if out.size == 0:
        return for_each("resize", "resize_grad", 0)
    tables = [_table(op, s, t) for s, t in zip(op.input_size, dy.shape[1:3], strict=True)]
    reaches = [_reach(positions, source) for (positions, _), source in zip(tables, op.input_size, strict=True)]
    arrays = [array for table, reach in zip(tables, reaches, strict=True) for array in (*table, reach)]
    placed = [_on_device(array, dy.dtype.name) for array in arrays]
    return _launch("resize_grad", out, dy, placed, (*op.input_size, *dy.shape[1:3]))


def _table(op: Resize | ResizeGrad, source: int, target: int) -> tuple[Array, Array]:
    """Return positions (target, 2) and weights (target, 2) along one axis."""
    positions, weights = np.zeros((target, 2), np.int32), np.zeros((target, 2))
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


def _reach(positions: Array, source: int) -> Array:
    """Return (source, 2): the first output position that mixes each source, and the last + 1; positions never fall."""
    places = np.arange(source)
    first = np.searchsorted(positions[:, 1], places, "left")  # the larger of its two sources is not below
    last = np.searchsorted(positions[:, 0], places, "right")
    return np.stack([first, np.maximum(first, last)], axis=1).astype(np.int32)


def _launch(name: str, out: Array, x: Array, tables: list[Array], sizes: tuple[int, ...]) -> Call:
    c = x.shape[3]
    lanes = lanes_of(c, out, x)
    kernel_name = f"{name}_wide" if lanes > 1 else name
    numbers = [np.int32(size) for size in (*sizes, c)]
    return for_each("resize", kernel_name, out.size // lanes, out, x, *tables, *numbers, dtype=x.dtype.name)


def _on_device(array: Array, dtype: str) -> Array:
    """Return a copy on the device; weights in the type that kernels compute in."""
    if array.dtype.kind == "f":
        array = array.astype(np.float64 if dtype == "float64" else np.float32)
    driver = current_driver()
    placed = driver.allocate(array.nbytes).view(array.dtype).reshape(array.shape)
    driver.write(placed, array)
    return placed
