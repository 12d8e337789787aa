"""Pools of stored numbers, by tables of what each row and column of the result sees."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.integer_rescaling import (
    FACTOR,
    STORING,
    factor_words,
    factors_on_device,
    integer_kernel,
    on_device,
    storing,
)
from edge_sdk.kernels.gpu.launch import for_each, nothing, sequence
from edge_sdk.kernels.gpu.moves import lanes_of
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, MaxPool2D
from edge_sdk.quantization.arithmetic import Rescaling
from edge_sdk.quantization.pooling import Windows, cells, grid, windows
from edge_sdk.spec import Array, Spec

IMAGES = np.dtype([(name, "i4") for name in ("height", "width", "rows", "columns", "channels")])
AFTER = np.dtype(
    {
        "names": ["factor", "storing", "multiplies"],
        "formats": [FACTOR, STORING, "i4"],
        "offsets": [0, 16, 32],
        "itemsize": 48,
    }
)
"""The structs of integer_pool.cu."""


@integer_kernel(MaxPool2D)
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> Call:
    if not out.size:
        return nothing()
    size = (x.shape[1], x.shape[2])
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    spans = []
    for axis in (0, 1):
        start = np.arange(out.shape[1 + axis]) * op.stride[axis] - pads[axis][0]
        first, last = (np.clip(each, 0, size[axis]) for each in (start, start + op.kernel[axis]))
        spans.append(_spans(first, last, last - first))
    return _pool("max_pool", out, x, *spans, np.int32(np.iinfo(x.dtype.name).min))


@integer_kernel(AvgPool2D, constants=windows)
def avg_pool2d(op: AvgPool2D, out: Array, x: Array, *, constants: Windows) -> Call:
    return _means(out, x, constants)


def _rows(op: AdaptiveAvgPool2D, x: Spec) -> tuple[Spec, ...]:
    return (Spec((x.shape[0], op.size[0], *x.shape[2:]), x.dtype),)


@integer_kernel(AdaptiveAvgPool2D, constants=cells, scratch=_rows)
def adaptive_avg_pool2d(
    op: AdaptiveAvgPool2D, out: Array, x: Array, *,
    scratch: tuple[Array, ...], constants: Windows | tuple[Rescaling, ...],
) -> Call:  # fmt: skip
    if isinstance(constants, Windows):
        return _means(out, x, constants)
    if not out.size:
        return nothing()
    n, h, w, c = x.shape
    rows = _bands(scratch[0], x, (n, h, w * c), op.size[0], constants[0])
    return sequence([rows, _bands(out, scratch[0], (n * op.size[0], w, c), op.size[1], constants[1])])


def _means(out: Array, x: Array, seen: Windows) -> Call:
    """The launch of an average pool, and of the product that follows where a file has one."""
    if not out.size:
        return nothing()
    factors, after, of_cells = np.zeros(4, np.int32), np.zeros(1, STORING)[0], x
    if seen.factors is not None and seen.rescaling is not None:
        factors, after = factor_words(seen.rescaling.factors)[0], storing(seen.rescaling)
        of_cells = on_device(np.asarray(seen.factors, x.dtype.name))
    multiplied = structure(AFTER, factors, after, int(of_cells is not x))
    spans = (
        _spans(axis[:, 0], axis[:, 1], counts)
        for axis, counts in ((seen.rows, seen.row_counts), (seen.columns, seen.column_counts))
    )
    return _pool("average_pool", out, x, *spans, of_cells, np.int32(seen.zero), multiplied)


def _pool(name: str, out: Array, x: Array, *values: object) -> Call:
    """The launch of a kernel of integer_pool.cu: as many channels at once as addresses allow."""
    lanes = lanes_of(x.shape[3], out, x)
    described = structure(IMAGES, *x.shape[1:3], *out.shape[1:])
    kernel_name = f"{name}_wide" if lanes > 1 else name
    return for_each("integer_pool", kernel_name, out.size // lanes, out, x, *values, described, dtype=x.dtype.name)


def _bands(out: Array, x: Array, sizes: tuple[int, int, int], count: int, scaling: Rescaling) -> Call:
    """The launch of the means of so many bands of the middle axis of x (outer, extent, inner)."""
    _, extent, inner = sizes
    bands = grid(extent, count)
    spans = _spans(bands[:, 0], bands[:, 1], bands[:, 1] - bands[:, 0])
    numbers = (np.int32(scaling.input_zeros[0]), storing(scaling), *map(np.int32, (extent, count, inner)))
    values = (out, x, spans, factors_on_device(scaling), *numbers)
    return for_each("integer_pool", "means_of_bands", out.size, *values, dtype=x.dtype.name)


def _spans(first: Array, last: Array, counted: Array) -> Array:
    """The Spans of an axis on the device."""
    return on_device(np.stack([first, last, counted], axis=1).astype(np.int32))
