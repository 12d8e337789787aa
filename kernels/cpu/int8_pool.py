"""8-bit pools, means, resizing, and what only moves numbers."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu import shape
from edge_sdk.kernels.cpu.int8_elementwise import in_all_lanes
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, splat
from edge_sdk.kernels.cpu.simd_integers import (
    BYTES,
    larger_octets,
    load_octets,
    load_some_bytes,
    load_some_integers,
    load_some_octets,
    splat_integer,
    splat_octets,
    store_some_bytes,
    store_some_octets,
)
from edge_sdk.kernels.cpu.simd_rescaling import load_factors, rescale
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.arithmetic import (
    LOWEST,
    Rescaling,
    mean_of_axes,
    mean_of_pixels,
    same_parameters,
    stored_padding,
)
from edge_sdk.quantization.pooling import Windows, cells, grid, windows
from edge_sdk.quantization.resampling import Mixtures, mixtures
from edge_sdk.spec import Array, Spec


@parallel_jit
def _max_pool(
    x: Array, images: int, height: int, width: int, channels: int, out: Array, rows: int, columns: int,
    window: tuple[int, int], stride: tuple[int, int], top: int, left: int,
) -> None:  # fmt: skip
    for task in prange(images * rows):
        image, row = task // rows, task % rows
        first_i, last_i = max(row * stride[0] - top, 0), min(row * stride[0] - top + window[0], height)
        for column in range(columns):
            first_j, last_j = max(column * stride[1] - left, 0), min(column * stride[1] - left + window[1], width)
            for c in range(0, channels, BYTES):
                count = channels - c
                largest = splat_octets(LOWEST)
                for i in range(first_i, last_i):
                    for j in range(first_j, last_j):
                        place = ((image * height + i) * width + j) * channels + c
                        if count >= BYTES:
                            largest = larger_octets(largest, load_octets(x, place))
                        else:
                            largest = larger_octets(largest, load_some_octets(x, place, count))
                store_some_octets(out, (task * columns + column) * channels + c, largest, count)


@kernel(MaxPool2D, "cpu", algorithm="bytes", quantized=True)
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> None:
    n, h, w, c = x.shape
    (top, _), (left, _) = resolve_padding(op.padding, (h, w), op.kernel, op.stride, (1, 1))
    _max_pool(x.reshape(-1), n, h, w, c, out.reshape(-1), *out.shape[1:3], op.kernel, op.stride, top, left)


@jit
def _rounded(total: int, count: int) -> int:
    """Total / count, halves away from zero."""
    if total > 0:
        return (total + count // 2) // count
    return -((count // 2 - total) // count)


@parallel_jit
def mean_of_windows(
    x: Array, out: Array, rows: Array, columns: Array, row_counts: Array, column_counts: Array, zero: int
) -> None:
    """Store the means of windows of x (n, h, w, c) in out (n, p, q, c)."""
    n, p, q, channels = out.shape
    for task in prange(n * p):
        image, row = task // p, task % p
        for column in range(q):
            inside = max(rows[row, 1] - rows[row, 0], 0) * max(columns[column, 1] - columns[column, 0], 0)
            count = row_counts[row] * column_counts[column]
            for c in range(channels):
                total = (count - inside) * zero  # a padded zero is stored as the zero point
                for i in range(rows[row, 0], rows[row, 1]):
                    for j in range(columns[column, 0], columns[column, 1]):
                        total += x[image, i, j, c]
                out[image, row, column, c] = _rounded(total, count)


@parallel_jit
def _multiply_windows(
    y: Array, pixels: int, channels: int, of_pixel: Array, factors: Array, before: int, zero: int, low: float,
    high: float,
) -> None:  # fmt: skip
    for task in prange(y.size // max(channels, 1)):
        factor, lowest, highest = load_factors(factors, 0, LANES), splat(low), splat(high)
        multiplier = splat_integer(np.int64(of_pixel[task % pixels]))
        for c in range(0, channels, LANES):
            e, count = task * channels + c, channels - c
            real = load_some_bytes(y, e, count) - splat_integer(before)
            value = rescale(real * multiplier, factor, lowest, highest) + splat_integer(zero)
            store_some_bytes(y, e, value, count)


def _means(out: Array, x: Array, cells: Windows) -> None:
    mean_of_windows(x, out, cells.rows, cells.columns, cells.row_counts, cells.column_counts, cells.zero)
    if cells.factors is not None and cells.rescaling is not None:
        scaling, zero = cells.rescaling, cells.rescaling.zero_point
        _multiply_windows(
            out.reshape(-1), cells.factors.size, out.shape[3], cells.factors.reshape(-1), in_all_lanes(scaling.factors),
            cells.zero, zero, float(scaling.low - zero), float(scaling.high - zero),
        )  # fmt: skip


@kernel(AvgPool2D, "cpu", algorithm="bytes", quantized=True, constants=windows)
def avg_pool2d(op: AvgPool2D, out: Array, x: Array, *, constants: Windows) -> None:
    _means(out, x, constants)


@parallel_jit
def _mean_of_bands(
    x: Array, outer: int, extent: int, inner: int, bands: Array, factors: Array, out: Array, start: Array, zero: int,
    low: float, high: float,
) -> None:  # fmt: skip
    """Store in out (outer, bands, inner) the means of bands of x (outer, extent, inner); all arrays are flat."""
    count = bands.shape[0]
    for task in prange(outer * count):
        row, band = task // count, task % count
        factor, lowest, highest = load_factors(factors, band * LANES, LANES), splat(low), splat(high)
        for c in range(0, inner, LANES):
            total = splat_integer(start[band])
            for i in range(bands[band, 0], bands[band, 1]):
                total = total + load_some_bytes(x, (row * extent + i) * inner + c, inner - c)
            value = rescale(total, factor, lowest, highest) + splat_integer(zero)
            store_some_bytes(out, task * inner + c, value, inner - c)


def _bands(x: Array, outer: int, inner: int, count: int, out: Array, scaling: Rescaling) -> None:
    extent, zero = x.size // (outer * inner), scaling.zero_point
    bands = grid(extent, count)
    start = -(bands[:, 1] - bands[:, 0]) * scaling.input_zeros[0]
    _mean_of_bands(
        x.reshape(-1), outer, extent, inner, bands, in_all_lanes(scaling.factors), out.reshape(-1), start, zero,
        float(scaling.low - zero), float(scaling.high - zero),
    )  # fmt: skip


def _rows(op: AdaptiveAvgPool2D, x: Spec) -> tuple[Spec, ...]:
    return (Spec((x.shape[0], op.size[0], *x.shape[2:]), "int8"),)


@kernel(AdaptiveAvgPool2D, "cpu", algorithm="bytes", quantized=True, constants=cells, scratch=_rows)
def adaptive_avg_pool2d(
    op: AdaptiveAvgPool2D, out: Array, x: Array, *,
    scratch: tuple[Array, ...], constants: Windows | tuple[Rescaling, ...],
) -> None:  # fmt: skip
    if x.shape == out.shape:
        out[...] = x
    elif isinstance(constants, Windows):
        _means(out, x, constants)
    elif x.size:
        n, _, w, c = x.shape
        _bands(x, n, w * c, op.size[0], scratch[0], constants[0])
        _bands(scratch[0], n * op.size[0], c, op.size[1], out, constants[1])


@parallel_jit
def _mean_of_pixels(
    x: Array, images: int, pixels: int, channels: int, out: Array, input_zero: int, factors: Array, zero: int,
    low: float, high: float,
) -> None:  # fmt: skip
    vectors = (channels + LANES - 1) // LANES
    for task in prange(images * vectors):
        image, c = task // vectors, task % vectors * LANES
        count = min(LANES, channels - c)
        total = splat_integer(-pixels * input_zero)
        for pixel in range(pixels):
            total = total + load_some_bytes(x, (image * pixels + pixel) * channels + c, count)
        value = rescale(total, load_factors(factors, c, count), splat(low), splat(high)) + splat_integer(zero)
        store_some_bytes(out, image * channels + c, value, count)


@kernel(GlobalAvgPool, "cpu", algorithm="bytes", quantized=True, constants=mean_of_pixels)
def global_avg_pool(op: GlobalAvgPool, out: Array, x: Array, *, constants: Rescaling) -> None:
    n, h, w, c = x.shape
    zero = constants.zero_point
    _mean_of_pixels(
        x.reshape(-1), n, h * w, c, out.reshape(-1), constants.input_zeros[0], constants.factors, zero,
        float(constants.low - zero), float(constants.high - zero),
    )  # fmt: skip


@parallel_jit
def _store_sums(
    total: Array, out: Array, channels: int, start: int, factors: Array, zero: int, low: float, high: float
) -> None:
    for row in prange(out.size // max(channels, 1)):
        for c in range(0, channels, LANES):
            e, count = row * channels + c, channels - c
            value = load_some_integers(total, e, count) + splat_integer(start)
            value = rescale(value, load_factors(factors, c, count), splat(low), splat(high)) + splat_integer(zero)
            store_some_bytes(out, e, value, count)


def _sums(op: ReduceMean, x: Spec) -> tuple[Spec, ...]:
    return (Spec(op.infer_outputs((x,))[0].shape, "int32"),)


@kernel(ReduceMean, "cpu", algorithm="bytes", quantized=True, constants=mean_of_axes, scratch=_sums)
def reduce_mean(op: ReduceMean, out: Array, x: Array, *, scratch: tuple[Array, ...], constants: Rescaling) -> None:
    np.sum(x, axis=op.axes, keepdims=op.keep_dims, dtype=np.int32, out=scratch[0])
    zero, count = constants.zero_point, math.prod(x.shape[axis] for axis in op.axes)
    _store_sums(
        scratch[0].reshape(-1), out.reshape(-1), constants.factors.shape[1], -count * constants.input_zeros[0],
        constants.factors, zero, float(constants.low - zero), float(constants.high - zero),
    )  # fmt: skip


@parallel_jit
def _resize(
    x: Array, out: Array, rows: Array, row_weights: Array, columns: Array, column_weights: Array, bits: int, away: int
) -> None:
    n, p, q, channels = out.shape
    half = 1 << (bits - 1)
    for task in prange(n * p):
        image, row = task // p, task % p
        for column in range(q):
            for c in range(channels):
                total = 0
                for i in range(2):
                    for j in range(2):
                        seen = x[image, rows[row, i], columns[column, j], c]
                        total += row_weights[row, i] * column_weights[column, j] * seen
                out[image, row, column, c] = (total + half - (away if total < 0 else 0)) >> bits


@kernel(Resize, "cpu", algorithm="bytes", quantized=True, constants=mixtures)
def resize(op: Resize, out: Array, x: Array, *, constants: Mixtures) -> None:
    rows, columns = constants.rows, constants.columns
    _resize(
        x, out, rows.positions, rows.weights, columns.positions, columns.weights, 2 * constants.bits,
        int(constants.symmetric),
    )  # fmt: skip


@kernel(Pad, "cpu", algorithm="bytes", quantized=True, constants=stored_padding)
def pad(op: Pad, out: Array, x: Array, *, constants: int) -> None:
    out.fill(constants)
    out[tuple(slice(before, before + size) for (before, _), size in zip(op.paddings, x.shape, strict=True))] = x


# What only moves numbers moves stored ones too.
kernel(Concat, "cpu", quantized=True, when=same_parameters)(shape.concat)
kernel(ExpandDims, "cpu", quantized=True)(shape.expand_dims)
kernel(Flatten, "cpu", quantized=True)(shape.flatten)
kernel(Reshape, "cpu", quantized=True)(shape.reshape)
kernel(Slice, "cpu", quantized=True)(shape.slice_block)
kernel(Split, "cpu", quantized=True)(shape.split)
kernel(Squeeze, "cpu", quantized=True)(shape.squeeze)
kernel(Transpose, "cpu", quantized=True)(shape.transpose)
