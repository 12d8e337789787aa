"""Pooling: the engine's operators on images, and for all else each axis by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.layout import channels_last
from edge_sdk.converters.onnx.read_conv import image_as_line, line_as_image
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.converters.onnx.windows import Windows, pair, windows
from edge_sdk.op import Op
from edge_sdk.ops.elementwise import Abs, Div
from edge_sdk.ops.functions import Power
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.pool import AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from edge_sdk.ops.shape import Cast, Pad
from edge_sdk.spec import FLOATS, Array


@reads("MaxPool")
def max_pool(c: Call) -> Tensor:
    """Largest of each window."""
    if c.wanted(1):
        raise c.unsupported("the indices of the largest elements are not computed")
    x = c.input(0)
    found, ceil = _found(c, x)
    if x.rank in (3, 4) and x.dtype == "float32" and set(found.dilations) == {1}:
        return _pool_images(c, x, found, lambda w: MaxPool2D(pair(w.kernel), pair(w.strides), w.padding, ceil))
    lowest = -math.inf if x.dtype in FLOATS else float(np.iinfo(x.dtype).min)
    return c.tensor(_by_axis(c, x, found, ceil=ceil, fill=lowest, op=ReduceMax), channels_last(x.rank))


@reads("AveragePool")
def average_pool(c: Call) -> Tensor:
    """Mean of each window, over what lies in the image, or with count_include_pad in its padding too."""
    x = c.input(0)
    found, ceil = _found(c, x)
    counted = bool(c.integer("count_include_pad", 0))
    if x.rank in (3, 4) and x.dtype == "float32" and set(found.dilations) == {1}:
        return _pool_images(c, x, found, lambda w: AvgPool2D(pair(w.kernel), pair(w.strides), w.padding, ceil, counted))
    total = _by_axis(c, x, found, ceil=ceil, fill=0.0, op=ReduceSum)
    counts = Constant(_counts(c, x.shape[2:], found, ceil=ceil, padding=counted).astype(x.dtype)[..., np.newaxis])
    return c.tensor(c.apply(Div(), total, counts), channels_last(x.rank))


@reads("LpPool")
def lp_pool(c: Call) -> Tensor:
    """(Σ |x|^p)^(1/p) of each window."""
    x, p = c.input(0), c.real("p", 2.0) if c.opset < 2 else float(c.integer("p", 2))
    found, ceil = _found(c, x)
    powers = c.tensor(c.apply(Power(), c.apply(Abs(), c.images(x)), c.number(p, x)), channels_last(x.rank))
    total = _by_axis(c, powers, found, ceil=ceil, fill=0.0, op=ReduceSum)
    return c.tensor(c.apply(Power(), total, c.number(1 / p, x)), channels_last(x.rank))


@reads("GlobalAveragePool")
def global_average_pool(c: Call) -> Tensor:
    """Mean over all pixels, which stay as axes of size 1."""
    x = c.input(0)
    if x.rank != 4:
        return _globally(c, x, ReduceMean)
    mean = c.apply(GlobalAvgPool(), c.images(x))
    n, channels = c.shape(mean)
    return c.tensor(c.translation.reshape(mean, (n, 1, 1, channels)), channels_last(4))


@reads("GlobalMaxPool")
def global_max_pool(c: Call) -> Tensor:
    """Largest of all pixels, which stay as axes of size 1."""
    return _globally(c, c.input(0), ReduceMax)


@reads("GlobalLpPool")
def global_lp_pool(c: Call) -> Tensor:
    """(Σ |x|^p)^(1/p) over all pixels."""
    x, p = c.input(0), float(c.integer("p", 2))
    powers = c.apply(Power(), c.apply(Abs(), c.images(x)), c.number(p, x))
    total = _globally(c, c.tensor(powers, channels_last(x.rank)), ReduceSum)
    return c.tensor(c.apply(Power(), total.held, c.number(1 / p, x)), total.layout)


def _globally(c: Call, x: Tensor, op: type[ReduceMax | ReduceMean | ReduceSum]) -> Tensor:
    if x.rank < 3:
        raise c.unsupported(f"x has shape {x.shape}, wanted (n, c, …)")
    return c.tensor(c.apply(op(tuple(range(1, x.rank - 1)), keep_dims=True), c.images(x)), channels_last(x.rank))


def _found(c: Call, x: Tensor) -> tuple[Windows, bool]:
    if x.rank < 3:
        raise c.unsupported(f"x has shape {x.shape}, wanted (n, c, …)")
    found = windows(c, x.shape[2:], c.integers("kernel_shape"))
    ceil = bool(c.integer("ceil_mode", 0))
    if min(found.outputs(x.shape[2:], ceil=ceil)) < 1:
        raise c.unsupported(f"windows of {found.reach} pixels do not fit into x of shape {x.shape}")
    return found, ceil


def _pool_images(c: Call, x: Tensor, found: Windows, make: Callable[[Windows], Op]) -> Tensor:
    image = line_as_image(c, x) if x.rank == 3 else x
    op = make(found.with_line())
    y = c.tensor(c.apply(op, c.images(image)), channels_last(4))
    return image_as_line(c, y) if x.rank == 3 else y


def _by_axis(c: Call, x: Tensor, found: Windows, *, ceil: bool, fill: float, op: type[ReduceMax | ReduceSum]) -> Held:
    """Reduce along one spatial axis after the other: what each window sees is gathered beside it, then reduced."""
    held = c.images(x)
    outputs = found.outputs(x.shape[2:], ceil=ceil)
    small = x.dtype in ("int8", "uint8", "bool") and op is ReduceMax
    if small:  # padding by the least number must not wrap around
        held = c.apply(Cast("int16"), held)
    for axis, count in enumerate(outputs, start=1):
        size, kernel = x.shape[axis + 1], found.kernel[axis - 1]
        stride, dilation, (before, _) = found.strides[axis - 1], found.dilations[axis - 1], found.pads[axis - 1]
        c.translation.budget.take(24 * count * kernel, described(c.node))
        places = np.arange(count)[:, np.newaxis] * stride + np.arange(kernel) * dilation
        behind = max(int(places.max()) + 1 - size - before, 0)
        pads = tuple((before, behind) if each == axis else (0, 0) for each in range(x.rank))
        if before or behind:
            held = c.apply(Pad(pads, fill), held)
        held = c.apply(op((axis + 1,)), c.apply(Gather(axis), held, Constant(places.astype(np.int64))))
    return c.cast(held, x.dtype) if small else held


def _counts(c: Call, sizes: tuple[int, ...], found: Windows, *, ceil: bool, padding: bool) -> Array:
    """How many pixels count in each window."""
    each = []
    for axis, count in enumerate(found.outputs(sizes, ceil=ceil)):
        before, after = found.pads[axis] if padding else (0, 0)
        c.translation.budget.take(24 * count * found.kernel[axis], described(c.node))
        first = np.arange(count) * found.strides[axis] - found.pads[axis][0]
        places = first[:, np.newaxis] + np.arange(found.kernel[axis]) * found.dilations[axis]
        inside = (places >= -before) & (places < sizes[axis] + after)
        each.append(inside.sum(axis=1))
    return reduce(np.multiply.outer, each)
