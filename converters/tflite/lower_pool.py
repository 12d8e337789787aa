"""Pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_sdk.converters.tflite.geometry import Window, choose_window, pad_image
from edge_sdk.converters.tflite.lower_elementwise import multiply_by
from edge_sdk.converters.tflite.lowering import Lowering, Tensor, lower
from edge_sdk.converters.tflite.options import ConcatenationOptions, Pool2DOptions, ReducerOptions, SliceOptions
from edge_sdk.converters.tflite.schema import Builtin, Padding
from edge_sdk.graph import Node
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.spec import Array


@lower(MaxPool2D)
def max_pool2d(t: Lowering, op: MaxPool2D, node: Node) -> None:
    """MAX_POOL_2D, behind a padding with the lowest number where SAME and VALID do not fit."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    window = _window(op, x, y)
    if window.pads is not None:
        dtype = x.spec.numpy_dtype
        lowest = np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min
        x = pad_image(t, x, window.pads, float(lowest))
    t.emit(Builtin.MAX_POOL_2D, [x], [y], _options(window.rule, op.kernel, op.stride))


@lower(AvgPool2D)
def avg_pool2d(t: Lowering, op: AvgPool2D, node: Node) -> None:
    """AVERAGE_POOL_2D, whose SAME counts only pixels inside the image.

    Other ways of counting are a padding with zeros, a mean over whole windows, and a factor a window.
    """
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    window, size = _window(op, x, y), (x.spec.shape[1], x.spec.shape[2])
    counted = _counted_pixels(op, size, y.spec.shape[1:3])
    if window.rule is Padding.SAME:
        if np.array_equal(counted, _counted_pixels(replace(op, count_padding=False), size, y.spec.shape[1:3])):
            t.emit(Builtin.AVERAGE_POOL_2D, [x], [y], _options(window.rule, op.kernel, op.stride))
            return
        # The zeros are counted, so they have to be there.
        window = Window(Padding.VALID, resolve_padding("same", size, op.kernel, op.stride, (1, 1)))
    if window.pads is not None:
        x = pad_image(t, x, window.pads)
    whole = op.kernel[0] * op.kernel[1]
    exact = bool((counted == whole).all())
    mean = y if exact else t.temporary(f"{y.name}/mean", y.spec)
    t.emit(Builtin.AVERAGE_POOL_2D, [x], [mean], _options(Padding.VALID, op.kernel, op.stride))
    if not exact:
        multiply_by(t, mean, (whole / counted)[np.newaxis, :, :, np.newaxis], y)


@lower(AdaptiveAvgPool2D)
def adaptive_avg_pool2d(t: Lowering, op: AdaptiveAvgPool2D, node: Node) -> None:
    """Nothing where the size fits already, AVERAGE_POOL_2D where it divides the image; else a MEAN a row and column."""
    x, size = t.read(node.inputs[0]), t.spec(node.inputs[0]).shape[1:3]
    if size == op.size:
        t.alias(node.output, x)
        return
    y = t.declare(node.output)
    if size[0] % op.size[0] == 0 and size[1] % op.size[1] == 0:
        kernel = (size[0] // op.size[0], size[1] // op.size[1])
        t.emit(Builtin.AVERAGE_POOL_2D, [x], [y], _options(Padding.VALID, kernel, kernel))
        return
    rows = t.temporary(f"{y.name}/rows", replace(y.spec, shape=(y.spec.shape[0], op.size[0], *x.spec.shape[2:])))
    _mean_of_bands(t, x, rows, axis=1)
    _mean_of_bands(t, rows, y, axis=2)


@lower(GlobalAvgPool)
def global_avg_pool(t: Lowering, op: GlobalAvgPool, node: Node) -> None:
    """MEAN over the pixels."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    t.emit(Builtin.MEAN, [x, t.integers(f"{y.name}/axes", (1, 2))], [y], ReducerOptions())


def _window(op: MaxPool2D | AvgPool2D, x: Tensor, y: Tensor) -> Window:
    size, output = (x.spec.shape[1], x.spec.shape[2]), (y.spec.shape[1], y.spec.shape[2])
    return choose_window(op.padding, size, output, op.kernel, op.stride)


def _options(rule: Padding, kernel: Pair, stride: Pair) -> Pool2DOptions:
    return Pool2DOptions(rule, stride[1], stride[0], kernel[1], kernel[0])


def _counted_pixels(op: AvgPool2D, size: Pair, output: Sequence[int]) -> Array:
    """How many pixels each window of the operator divides by, (rows, columns)."""
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    along = []
    for extent, (before, after), k, s, count in zip(size, pads, op.kernel, op.stride, output, strict=True):
        first, last = (-before, extent + after) if op.count_padding else (0, extent)
        start = np.arange(count) * s - before
        # A window that sees nothing but padding is zero, by whatever it is divided.
        along.append(np.maximum(np.minimum(start + k, last) - np.maximum(start, first), 1))
    return np.asarray(np.outer(*along))


def _mean_of_bands(t: Lowering, x: Tensor, y: Tensor, axis: int) -> None:
    """Write band i of y as the mean of x from floor(i · extent / bands) to ceil((i + 1) · extent / bands)."""
    extent, bands = x.spec.shape[axis], y.spec.shape[axis]
    axes = t.integers(f"{y.name}/axis", (axis,))
    means = []
    for i in range(bands):
        first, last = i * extent // bands, -(-(i + 1) * extent // bands)
        begin, size = [0] * x.spec.rank, [-1] * x.spec.rank
        begin[axis], size[axis] = first, last - first
        band = t.temporary(f"{y.name}/band_{i}", replace(x.spec, shape=_with(x.spec.shape, axis, last - first)))
        mean = t.temporary(f"{y.name}/mean_{i}", replace(x.spec, shape=_with(x.spec.shape, axis, 1)))
        inputs = [x, t.integers(f"{band.name}/begin", begin), t.integers(f"{band.name}/size", size)]
        t.emit(Builtin.SLICE, inputs, [band], SliceOptions())
        t.emit(Builtin.MEAN, [band, axes], [mean], ReducerOptions(keep_dims=True))
        means.append(mean)
    t.emit(Builtin.CONCATENATION, means, [y], ConcatenationOptions(axis=axis))


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])
