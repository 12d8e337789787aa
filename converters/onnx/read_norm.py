"""Normalisation."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import channels_last, plain
from edge_sdk.converters.onnx.reshaping import reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.ops.elementwise import Abs, Add, Div, Maximum, Mul, Sqrt, Square, Sub
from edge_sdk.ops.norm import BatchNorm, LocalResponseNorm
from edge_sdk.ops.reduce import ReduceMean, ReduceSum
from edge_sdk.spec import BATCH


@reads("BatchNormalization")
def batch_normalization(c: Call) -> Tensor | tuple[Tensor | None, ...]:
    """By the running statistics, or by the batch's own in training mode."""
    x = c.input(0)
    layout = x.layout if x.layout.inner else channels_last(x.rank)
    if c.opset < 9 and not c.integer("spatial", 1):
        raise c.unsupported("statistics for each pixel are not read")
    if c.opset < 7 and not c.integer("is_test", 0):
        raise c.unsupported("the training form is not read")
    held = c.translation.hold(x, layout)
    parameters = [_by_column(c, c.input(index), x) for index in range(1, 5)]
    op = BatchNorm(c.real("epsilon", 1e-5))
    if not c.integer("training_mode", 0):
        return c.tensor(c.apply(op, held, *parameters), layout)
    momentum = c.real("momentum", 0.9)
    axes = tuple(range(x.rank - 1))
    mean = c.apply(ReduceMean(axes), held)
    variance = c.apply(ReduceMean(axes), c.apply(Square(), c.apply(Sub(), held, mean)))
    y = c.tensor(c.apply(op, held, *parameters[:2], mean, variance), layout)
    running = []
    for old, new in zip(parameters[2:], (mean, variance), strict=True):
        kept = c.apply(Mul(), old, c.number(momentum, old))
        running.append(c.result(c.apply(Add(), kept, c.apply(Mul(), new, c.number(1 - momentum, new)))))
    return y, *running


def _by_column(c: Call, parameter: Tensor, x: Tensor) -> Held:
    """One number per channel, or per column of flattened images in the order in which they are held."""
    if parameter.rank != 1 or x.rank < 2 or parameter.shape[0] != x.shape[1]:
        raise c.unsupported(f"parameters have shape {parameter.shape} for x of shape {x.shape}")
    if not x.layout.inner:
        return c.plain(parameter)
    row = c.result(c.translation.reshape(c.plain(parameter), (1, x.shape[1])))
    return c.translation.reshape(c.translation.hold(row, x.layout), (x.shape[1],))


@reads("LRN")
def local_response_normalization(c: Call) -> Tensor:
    """Across channels."""
    op = LocalResponseNorm(c.integer("size"), c.real("alpha", 1e-4), c.real("beta", 0.75), c.real("bias", 1.0))
    x = c.input(0)
    return c.tensor(c.apply(op, c.images(x)), channels_last(x.rank))


def _standardised(c: Call, held: Held, axes: tuple[int, ...], epsilon: float) -> tuple[Held, Held, Held]:
    """(x - mean) / √(variance + ε) over axes as held, the mean and 1 / √(variance + ε)."""
    mean = c.apply(ReduceMean(axes, keep_dims=True), held)
    centred = c.apply(Sub(), held, mean)
    variance = c.apply(ReduceMean(axes, keep_dims=True), c.apply(Square(), centred))
    deviation = c.apply(Sqrt(), c.apply(Add(), variance, c.number(epsilon, variance)))
    return c.apply(Div(), centred, deviation), mean, c.apply(Div(), c.number(1.0, deviation), deviation)


@reads("InstanceNormalization")
def instance_normalization(c: Call) -> Tensor:
    """Each channel of each image by its own mean and deviation."""
    x = c.input(0)
    layout = plain(x.rank) if x.layout.inner else x.layout
    axes = tuple(sorted(layout.order.index(axis) for axis in range(2, x.rank)))
    y, _, _ = _standardised(c, c.translation.hold(x, layout), axes, c.real("epsilon", 1e-5))
    shape = (x.shape[1], *(1,) * (x.rank - 2))
    return _scaled(c, c.tensor(y, layout), *(reshaped(c, c.input(index), shape) for index in (1, 2)))


@reads("GroupNormalization")
def group_normalization(c: Call) -> Tensor:
    """Each group of channels of each image by its own mean and deviation."""
    x, groups = c.input(0), c.integer("num_groups")
    n, *sizes, channels = c.shape(c.images(x))
    if groups < 1 or channels % groups:
        raise c.unsupported(f"{groups} groups of {channels} channels")
    grouped = c.translation.reshape(c.images(x), (n, *sizes, groups, channels // groups))
    axes = (*range(1, 1 + len(sizes)), 2 + len(sizes))
    y, _, _ = _standardised(c, grouped, axes, c.real("epsilon", 1e-5))
    scale, bias = c.plain(c.input(1)), c.plain(c.input(2))
    if c.shape(scale) == (groups,) != (channels,):  # before opset 21 one number per group
        scale, bias = (c.translation.reshape(each, (groups, 1)) for each in (scale, bias))
        y = c.apply(Add(), c.apply(Mul(), y, scale), bias)
        return c.tensor(c.translation.reshape(y, (n, *sizes, channels)), channels_last(x.rank))
    y = c.translation.reshape(y, (n, *sizes, channels))
    return c.tensor(c.apply(Add(), c.apply(Mul(), y, scale), bias), channels_last(x.rank))


@reads("LayerNormalization")
def layer_normalization(c: Call) -> tuple[Tensor | None, ...]:
    """Over all axes from `axis` on."""
    x, axis = c.input(0), c.axis(c.integer("axis", -1), c.input(0).rank)
    layout = plain(x.rank) if x.layout.inner else x.layout
    held = c.translation.hold(x, layout)
    axes = tuple(layout.order.index(each) for each in range(axis, x.rank))
    y, mean, inverse = _standardised(c, held, axes, c.real("epsilon", 1e-5))
    result = _scaled(c, c.tensor(y, layout), *(c.optional(index) for index in (1, 2)))
    return result, c.tensor(mean, layout), c.tensor(inverse, layout)


@reads("RMSNormalization")
def rms_normalization(c: Call) -> Tensor:
    """Y = x / √(mean of x² + ε) over all axes from `axis` on."""
    x, axis = c.input(0), c.axis(c.integer("axis", -1), c.input(0).rank)
    held = c.plain(x)
    mean = c.apply(ReduceMean(tuple(range(axis, x.rank)), keep_dims=True), c.apply(Square(), held))
    root = c.apply(Sqrt(), c.apply(Add(), mean, c.number(c.real("epsilon", 1e-5), mean)))
    return _scaled(c, c.result(c.apply(Div(), held, root)), c.optional(1), None)


def _scaled(c: Call, y: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    for op, parameter in ((Mul(), scale), (Add(), bias)):
        if parameter is not None:
            held, layout = c.aligned([y, parameter])
            y = c.tensor(c.apply(op, *held), layout)
    return y


@reads("MeanVarianceNormalization")
def mean_variance_normalization(c: Call) -> Tensor:
    """(x - mean) / deviation over axes."""
    x = c.input(0)
    layout = plain(x.rank) if x.layout.inner else x.layout
    axes = tuple(layout.order.index(axis) for axis in c.axes(c.integers("axes", (0, 2, 3)), x.rank))
    held = c.translation.hold(x, layout)
    centred = c.apply(Sub(), held, c.apply(ReduceMean(axes, keep_dims=True), held))
    variance = c.apply(ReduceMean(axes, keep_dims=True), c.apply(Square(), centred))
    deviation = c.apply(Add(), c.apply(Sqrt(), variance), c.number(1e-9, variance))
    return c.tensor(c.apply(Div(), centred, deviation), layout)


@reads("LpNormalization")
def lp_normalization(c: Call) -> Tensor:
    """Y = x divided by its norm along an axis; 0 where that is 0."""
    x, p = c.input(0), c.integer("p", 2)
    layout = plain(x.rank) if x.layout.inner else x.layout
    axes = (layout.order.index(c.axis(c.integer("axis", -1), x.rank)),)
    held = c.translation.hold(x, layout)
    if p == 1:
        norm = c.apply(ReduceSum(axes, keep_dims=True), c.apply(Abs(), held))
    elif p == 2:
        norm = c.apply(Sqrt(), c.apply(ReduceSum(axes, keep_dims=True), c.apply(Square(), held)))
    else:
        raise c.unsupported(f"p is {p}, wanted 1 or 2")
    # A norm of 0 belongs to zeros: any divisor leaves them so.
    least = c.apply(Maximum(), norm, c.number(1e-30 if x.dtype != "float16" else 1e-7, norm))
    return c.tensor(c.apply(Div(), held, least), layout)


@reads("Dropout")
def dropout(c: Call) -> tuple[Tensor | None, ...]:
    """The inference form: nothing is dropped."""
    x = c.input(0)
    if c.has(2) and bool(c.array(2, "training_mode").any()):
        ratio = float(c.array(1, "ratio")) if c.has(1) else 0.5
        if ratio:
            raise c.unsupported("the training form drops at random")
    if not c.wanted(1):
        return (x,)
    if BATCH in x.shape:
        return x, None
    kept = np.broadcast_to(np.array(1, bool) if c.opset >= 10 else np.array(1, x.dtype), x.shape)
    return x, c.result(Constant(kept))
