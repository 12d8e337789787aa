"""Pools, means and resizing of 16-bit numbers, and what only moves them."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu import shape
from edge_sdk.kernels.cpu.int8_pool import mean_of_windows, pad, resize
from edge_sdk.kernels.cpu.int16_rounding import fixed_product
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.arithmetic import (
    Rescaling,
    mean_of_axes,
    mean_of_pixels,
    same_parameters,
    stored_padding,
)
from edge_sdk.quantization.pooling import Windows, cells, grid, windows
from edge_sdk.quantization.resampling import mixtures
from edge_sdk.spec import Array, Spec


@parallel_jit
def _max_pool(
    x: Array, out: Array, window: tuple[int, int], stride: tuple[int, int], top: int, left: int
) -> None:  # fmt: skip
    images, rows, columns, channels = out.shape
    height, width = x.shape[1], x.shape[2]
    for task in prange(images * rows):
        image, row = task // rows, task % rows
        for column in range(columns):
            for c in range(channels):
                out[image, row, column, c] = -32768
            for i in range(max(row * stride[0] - top, 0), min(row * stride[0] - top + window[0], height)):
                for j in range(max(column * stride[1] - left, 0), min(column * stride[1] - left + window[1], width)):
                    for c in range(channels):
                        out[image, row, column, c] = max(out[image, row, column, c], x[image, i, j, c])


@kernel(MaxPool2D, "cpu", algorithm="direct", quantized="int16")
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> None:
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], op.kernel, op.stride, (1, 1))
    _max_pool(x, out, op.kernel, op.stride, top, left)


@parallel_jit
def _multiply_windows(y: Array, of_pixel: Array, factors: Array, low: int, high: int) -> None:
    multiplier, left, right, _ = factors
    rows, channels = y.shape
    for row in prange(rows):
        factor = np.int64(of_pixel[row % of_pixel.size])
        for c in range(channels):
            product = fixed_product(np.int64(y[row, c]) * factor, multiplier, left, right)
            y[row, c] = min(max(product, low), high)


def _means(out: Array, x: Array, cells: Windows) -> None:
    mean_of_windows(x, out, cells.rows, cells.columns, cells.row_counts, cells.column_counts, cells.zero)
    if cells.factors is not None and cells.rescaling is not None:
        scaling = cells.rescaling
        factors = scaling.factors[:, 0].astype(np.int64)
        _multiply_windows(
            out.reshape(-1, out.shape[3]), cells.factors.reshape(-1), factors, scaling.low, scaling.high
        )  # fmt: skip


@kernel(AvgPool2D, "cpu", algorithm="direct", quantized="int16", constants=windows)
def avg_pool2d(op: AvgPool2D, out: Array, x: Array, *, constants: Windows) -> None:
    _means(out, x, constants)


@parallel_jit
def _mean_of_bands(x: Array, out: Array, bands: Array, factors: Array, low: int, high: int) -> None:
    """Store in out (outer, bands, inner) the means of bands of x (outer, extent, inner); factors are (4, bands)."""
    outer, count, inner = out.shape
    for task in prange(outer * count):
        row, band = task // count, task % count
        multiplier, left, right = factors[0, band], factors[1, band], factors[2, band]
        for c in range(inner):
            total = np.int64(0)
            for i in range(bands[band, 0], bands[band, 1]):
                total += x[row, i, c]
            out[row, band, c] = min(max(fixed_product(total, multiplier, left, right), low), high)


def _bands(x: Array, outer: int, inner: int, count: int, out: Array, scaling: Rescaling) -> None:
    extent = x.size // (outer * inner)
    _mean_of_bands(
        x.reshape(outer, extent, inner), out.reshape(outer, count, inner), grid(extent, count),
        scaling.factors.astype(np.int64), scaling.low, scaling.high,
    )  # fmt: skip


def _rows(op: AdaptiveAvgPool2D, x: Spec) -> tuple[Spec, ...]:
    return (Spec((x.shape[0], op.size[0], *x.shape[2:]), "int16"),)


@kernel(AdaptiveAvgPool2D, "cpu", algorithm="direct", quantized="int16", constants=cells, scratch=_rows)
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
def _store_sums(total: Array, out: Array, factors: Array, low: int, high: int) -> None:
    multiplier, left, right = factors[0, 0], factors[1, 0], factors[2, 0]  # a mean's are alike in all channels
    for e in prange(out.size):
        out[e] = min(max(fixed_product(np.int64(total[e]), multiplier, left, right), low), high)


def _sums(op: GlobalAvgPool | ReduceMean, x: Spec) -> tuple[Spec, ...]:
    return (Spec(op.infer_outputs((x,))[0].shape, "int32"),)


def _mean(out: Array, total: Array, constants: Rescaling) -> None:
    factors = constants.factors.astype(np.int64)
    _store_sums(total.reshape(-1), out.reshape(-1), factors, constants.low, constants.high)


@kernel(GlobalAvgPool, "cpu", algorithm="sums", quantized="int16", constants=mean_of_pixels, scratch=_sums)
def global_avg_pool(
    op: GlobalAvgPool, out: Array, x: Array, *, scratch: tuple[Array, ...], constants: Rescaling
) -> None:
    np.sum(x, axis=(1, 2), dtype=np.int32, out=scratch[0])
    _mean(out, scratch[0], constants)


@kernel(ReduceMean, "cpu", algorithm="sums", quantized="int16", constants=mean_of_axes, scratch=_sums)
def reduce_mean(op: ReduceMean, out: Array, x: Array, *, scratch: tuple[Array, ...], constants: Rescaling) -> None:
    np.sum(x, axis=op.axes, keepdims=op.keep_dims, dtype=np.int32, out=scratch[0])
    _mean(out, scratch[0], constants)


kernel(Resize, "cpu", algorithm="direct", quantized="int16", constants=mixtures)(resize)
kernel(Pad, "cpu", algorithm="direct", quantized="int16", constants=stored_padding)(pad)

# What only moves numbers moves stored ones too.
kernel(Concat, "cpu", quantized="int16", when=same_parameters)(shape.concat)
kernel(ExpandDims, "cpu", quantized="int16")(shape.expand_dims)
kernel(Flatten, "cpu", quantized="int16")(shape.flatten)
kernel(Reshape, "cpu", quantized="int16")(shape.reshape)
kernel(Slice, "cpu", quantized="int16")(shape.slice_block)
kernel(Split, "cpu", quantized="int16")(shape.split)
kernel(Squeeze, "cpu", quantized="int16")(shape.squeeze)
kernel(Transpose, "cpu", quantized="int16")(shape.transpose)
