"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.ops.elementwise import Abs, Add, Exp, Log, Maximum, Mul, Neg, Sqrt, Square, Sub
from edge_sdk.ops.logic import Bitwise, Compare
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from edge_sdk.ops.shape import Slice
from edge_sdk.spec import FLOATS

Reduction = Callable[[Call, Held, tuple[int, ...]], Held]
"""A reduction over axes as held, which stay with size 1."""


def total(c: Call, x: Held, axes: tuple[int, ...]) -> Held:
    """Σ x."""
    return c.apply(ReduceSum(axes, keep_dims=True), x)


def mean(c: Call, x: Held, axes: tuple[int, ...]) -> Held:
    """The mean."""
    return c.apply(ReduceMean(axes, keep_dims=True), x)


def largest(c: Call, x: Held, axes: tuple[int, ...]) -> Held:
    """The largest; of no elements the least number there is."""
    shape = c.shape(x)
    if any(shape[axis] == 0 for axis in axes):
        dtype = c.dtype(x)
        least = -np.inf if dtype in FLOATS else 0 if dtype == "bool" else np.iinfo(dtype).min
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return Constant(np.broadcast_to(np.array(least).astype(dtype), kept))
    if c.dtype(x) == "bool":
        return c.apply(Compare("not_equal"), largest(c, c.cast(x, "int8"), axes), Constant(np.array(0, np.int8)))
    return c.apply(ReduceMax(axes, keep_dims=True), x)


def smallest(c: Call, x: Held, axes: tuple[int, ...]) -> Held:
    """The smallest: the largest of what is turned around, by sign or by bits."""
    if c.dtype(x) in FLOATS:
        return c.apply(Neg(), largest(c, c.apply(Neg(), x), axes))
    ones = Constant(np.array(1, bool) if c.dtype(x) == "bool" else np.array(-1).astype(c.dtype(x)))
    return c.apply(Bitwise("xor"), largest(c, c.apply(Bitwise("xor"), x, ones), axes), ones)


def product(c: Call, x: Held, axes: tuple[int, ...]) -> Held:
    """The product, by halves along each axis."""
    for axis in axes:
        x = _product_along(c, x, axis)
    return x


def _product_along(c: Call, x: Held, axis: int) -> Held:
    size = c.shape(x)[axis]
    if size < 0:
        raise c.unsupported("the product over an open batch")
    if size == 0:
        kept = tuple(1 if each == axis else extent for each, extent in enumerate(c.shape(x)))
        return Constant(np.broadcast_to(np.array(1).astype(c.dtype(x)), kept))
    while size > 1:
        half = size // 2
        folded = c.apply(Mul(), _part(c, x, axis, 0, half), _part(c, x, axis, half, half))
        if size % 2:
            first = c.apply(Mul(), _part(c, folded, axis, 0, 1), _part(c, x, axis, size - 1, 1))
            rest = _part(c, folded, axis, 1, half - 1)
            folded = first if half == 1 else _joined(c, axis, first, rest)
        x, size = folded, half
    return x


def _part(c: Call, x: Held, axis: int, begin: int, size: int) -> Held:
    rank = len(c.shape(x))
    starts = tuple(begin if each == axis else 0 for each in range(rank))
    return c.apply(Slice(starts, tuple(size if each == axis else -1 for each in range(rank))), x)


def _joined(c: Call, axis: int, *parts: Held) -> Held:
    from edge_sdk.ops.shape import Concat

    return c.apply(Concat(axis), *parts)


def _log_sum_exp(c: Call, x: Held, axes: tuple[int, ...]) -> Held:
    """Y = ln Σ eˣ, from the largest on, which keeps it finite."""
    top = largest(c, x, axes)
    if any(c.shape(x)[axis] == 0 for axis in axes):
        return c.apply(Log(), total(c, c.apply(Exp(), x), axes))
    top = c.apply(Maximum(), top, c.number(float(np.finfo(c.dtype(top)).min), top))
    powers = c.apply(Exp(), c.apply(Sub(), x, top))
    return c.apply(Add(), c.apply(Log(), total(c, powers, axes)), top)


REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": total,
    "ReduceMean": mean,
    "ReduceMax": largest,
    "ReduceMin": smallest,
    "ReduceProd": product,
    "ReduceL1": lambda c, x, axes: total(c, c.apply(Abs(), x), axes),
    "ReduceL2": lambda c, x, axes: c.apply(Sqrt(), total(c, c.apply(Square(), x), axes)),
    "ReduceSumSquare": lambda c, x, axes: total(c, c.apply(Square(), x), axes),
    "ReduceLogSum": lambda c, x, axes: c.apply(Log(), total(c, x, axes)),
    "ReduceLogSumExp": _log_sum_exp,
}


@reads(*REDUCTIONS)
def reduction(c: Call) -> Tensor:
    """Over axes given as an attribute, since opset 13 or 18 as an input; over all when there are none."""
    x = c.input(0)
    axes = c.sizes(1, "the axes") if c.has(1) else c.integers("axes", ())
    if not axes and c.integer("noop_with_empty_axes", 0):
        return _pointwise(c, x)
    chosen = c.axes(axes, x.rank) or tuple(range(x.rank))
    return reduced(c, x, chosen, REDUCTIONS[c.node.op_type], keep=bool(c.integer("keepdims", 1)))


def _pointwise(c: Call, x: Tensor) -> Tensor:
    """What is left of a reduction over no axis: what it does to each element."""
    functions: dict[str, Callable[[], Held]] = {
        "ReduceL1": lambda: c.apply(Abs(), x.held),
        "ReduceL2": lambda: c.apply(Abs(), x.held),
        "ReduceSumSquare": lambda: c.apply(Square(), x.held),
        "ReduceLogSum": lambda: c.apply(Log(), x.held),
    }
    make = functions.get(c.node.op_type)
    return x if make is None else c.tensor(make(), x.layout)


def reduced(c: Call, x: Tensor, axes: tuple[int, ...], reduction: Reduction, *, keep: bool) -> Tensor:
    """The reduction of a tensor over ONNX axes, in whatever layout it is held."""
    layout = plain(x.rank) if x.layout.inner else x.layout
    held = c.translation.hold(x, layout)
    if axes == (2, 3) and reduction is mean and layout.order == (0, 2, 3, 1) and x.dtype == "float32":
        pooled = c.apply(GlobalAvgPool(), held)
        n, channels = c.shape(pooled)
        kept = c.translation.reshape(pooled, (n, 1, 1, channels))
        return c.tensor(kept, layout) if keep else c.result(pooled)
    places = tuple(sorted(layout.order.index(axis) for axis in axes))
    result = reduction(c, held, places) if axes else held
    return c.tensor(result, layout) if keep else without(c, c.tensor(result, layout), axes)


def without(c: Call, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A tensor without ONNX axes of size 1."""
    kept = [axis for axis in x.layout.order if axis not in axes]
    shape = tuple(x.shape[axis] for axis in kept)
    order = tuple(sorted(kept).index(axis) for axis in kept)
    return c.tensor(c.translation.reshape(x.held, shape), Layout(order))


@reads("ArgMax", "ArgMin")
def arg_extreme(c: Call) -> Tensor:
    """Where the largest or smallest element is, the first of equals or the last."""
    x = c.input(0)
    layout = plain(x.rank) if x.layout.inner else x.layout
    axis = c.axis(c.integer("axis", 0), x.rank)
    index = arg_extreme_of(
        c, c.translation.hold(x, layout), layout.order.index(axis),
        smallest if c.node.op_type == "ArgMin" else largest, last=bool(c.integer("select_last_index", 0)),
    )  # fmt: skip
    result = c.tensor(index, layout)
    return result if c.integer("keepdims", 1) else without(c, result, (axis,))


def arg_extreme_of(c: Call, held: Held, place: int, extreme: Reduction, *, last: bool) -> Held:
    """int64 indices along an axis as held: the largest of the places, counted from the end for the first."""
    size = c.shape(held)[place]
    if size < 1:
        raise c.unsupported("there is no largest of no elements, or of an open batch")
    places = c.translation.count(size) + 1
    column = places.reshape(-1, *(1,) * (len(c.shape(held)) - place - 1))
    there = c.cast(c.apply(Compare("equal"), held, extreme(c, held, (place,))), "int64")
    if last:
        best = c.apply(ReduceMax((place,), keep_dims=True), c.apply(Mul(), there, Constant(column)))
        return c.apply(Sub(), best, Constant(np.array(1, np.int64)))
    backward = Constant(np.ascontiguousarray(np.flip(column)))
    best = c.apply(ReduceMax((place,), keep_dims=True), c.apply(Mul(), there, backward))
    return c.apply(Sub(), Constant(np.array(size, np.int64)), best)


@reads("Hardmax")
def hardmax(c: Call) -> Tensor:
    """1 for the first largest element along an axis, else 0; before opset 13 of all axes from `axis` on."""
    from edge_sdk.converters.onnx.read_activation import softmax_axes

    x = c.input(0)
    axes = softmax_axes(c, x)
    shape = c.fixed(x)
    rows = int(np.prod(shape[: axes[0]])) if c.opset < 13 else 0
    held = (
        c.translation.reshape(c.plain(x), (rows, -1 if not rows else int(np.prod(shape)) // rows))
        if rows
        else c.plain(x)
    )
    place = 1 if rows else axes[0]
    index = arg_extreme_of(c, held, place, largest, last=False)
    size = c.shape(held)[place]
    numbers = c.translation.count(size).reshape(-1, *(1,) * (len(c.shape(held)) - place - 1))
    hot = c.cast(c.apply(Compare("equal"), index, Constant(numbers)), x.dtype)
    return c.result(c.translation.reshape(hot, shape))
