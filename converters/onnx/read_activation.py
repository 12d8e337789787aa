"""Activation functions, as the engine has them or composed of its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.converters.onnx.reshaping import reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    LogSoftmax,
    PRelu,
    Relu,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)
from edge_sdk.ops.elementwise import Abs, Add, Clip, Div, Exp, Log, Maximum, Minimum, Mul, Neg, Sub
from edge_sdk.ops.logic import Compare, Where
from edge_sdk.ops.reduce import ReduceMax, ReduceSum


def elementwise(c: Call, function: Callable[[Held], Held]) -> Tensor:
    """A function of the first input, in whatever layout it is held."""
    x = c.input(0)
    return c.tensor(function(x.held), x.layout)


def _single(make: Callable[[Call], Op]) -> Callable[[Call], Tensor]:
    def read(c: Call) -> Tensor:
        return elementwise(c, lambda x: c.apply(make(c), x))

    return read


reads("Sigmoid")(_single(lambda c: Sigmoid()))
reads("Tanh")(_single(lambda c: Tanh()))
reads("LeakyRelu")(_single(lambda c: LeakyRelu(c.real("alpha", 0.01))))
reads("HardSwish")(_single(lambda c: HardSwish()))
reads("Gelu")(_single(lambda c: Gelu(c.text("approximate", "none") == "tanh")))


@reads("Relu")
def relu(c: Call) -> Tensor:
    """max(x, 0)."""
    x = c.input(0)
    if x.dtype.startswith("int"):
        return elementwise(c, lambda held: c.apply(Maximum(), held, c.number(0, held)))
    return elementwise(c, lambda held: c.apply(Relu(), held))


@reads("HardSigmoid")
def hard_sigmoid(c: Call) -> Tensor:
    """max(0, min(1, alpha · x + beta))."""
    alpha, beta = c.real("alpha", 0.2), c.real("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return elementwise(c, lambda x: c.apply(HardSigmoid(), x))

    def function(x: Held) -> Held:
        line = c.apply(Add(), c.apply(Mul(), x, c.number(alpha, x)), c.number(beta, x))
        return c.apply(Clip(0.0, 1.0), line)

    return elementwise(c, function)


def exponential_below(c: Call, x: Held, alpha: float, divisor: float = 1.0) -> Held:
    """max(x, 0) + alpha · (e^(min(x, 0) / divisor) - 1)."""
    zero = c.number(0.0, x)
    below = c.apply(Minimum(), x, zero)
    if divisor != 1.0:
        below = c.apply(Div(), below, c.number(divisor, x))
    curve = c.apply(Mul(), c.apply(Sub(), c.apply(Exp(), below), c.number(1.0, x)), c.number(alpha, x))
    return c.apply(Add(), c.apply(Maximum(), x, zero), curve)


@reads("Elu")
def elu(c: Call) -> Tensor:
    """x, or alpha · (eˣ - 1) below 0."""
    return elementwise(c, lambda x: exponential_below(c, x, c.real("alpha", 1.0)))


@reads("Celu")
def celu(c: Call) -> Tensor:
    """x, or alpha · (e^(x / alpha) - 1) below 0."""
    alpha = c.real("alpha", 1.0)
    return elementwise(c, lambda x: exponential_below(c, x, alpha, alpha))


@reads("Selu")
def selu(c: Call) -> Tensor:
    """Y = gamma · elu(x)."""
    modern = c.opset >= 6
    alpha = c.real("alpha", 1.67326319217681884765625 if modern else 1.6732)
    gamma = c.real("gamma", 1.05070102214813232421875 if modern else 1.0507)
    return elementwise(c, lambda x: c.apply(Mul(), exponential_below(c, x, alpha), c.number(gamma, x)))


def softplus_of(c: Call, x: Held) -> Held:
    """ln(1 + eˣ), without overflow: max(x, 0) + ln(1 + e^-|x|)."""
    small = c.apply(Exp(), c.apply(Neg(), c.apply(Abs(), x)))
    curve = c.apply(Log(), c.apply(Add(), small, c.number(1.0, x)))
    return c.apply(Add(), c.apply(Maximum(), x, c.number(0.0, x)), curve)


@reads("Softplus")
def softplus(c: Call) -> Tensor:
    """ln(1 + eˣ)."""
    return elementwise(c, lambda x: softplus_of(c, x))


@reads("Softsign")
def softsign(c: Call) -> Tensor:
    """Y = x / (1 + |x|)."""
    return elementwise(c, lambda x: c.apply(Div(), x, c.apply(Add(), c.apply(Abs(), x), c.number(1.0, x))))


@reads("Mish")
def mish(c: Call) -> Tensor:
    """Y = x · tanh(softplus(x))."""
    return elementwise(c, lambda x: c.apply(Mul(), x, c.apply(Tanh(), softplus_of(c, x))))


@reads("Swish")
def swish(c: Call) -> Tensor:
    """Y = x · sigmoid(alpha · x)."""
    alpha = c.real("alpha", 1.0)
    if alpha == 1.0:
        return elementwise(c, lambda x: c.apply(Silu(), x))
    return elementwise(c, lambda x: c.apply(Mul(), x, c.apply(Sigmoid(), c.apply(Mul(), x, c.number(alpha, x)))))


@reads("ThresholdedRelu")
def thresholded_relu(c: Call) -> Tensor:
    """Y = x above alpha, else 0."""

    def function(x: Held) -> Held:
        above = c.apply(Compare("greater"), x, c.number(c.real("alpha", 1.0), x))
        return c.apply(Where(), above, x, c.number(0.0, x))

    return elementwise(c, function)


@reads("Shrink")
def shrink(c: Call) -> Tensor:
    """Y = x moved by `bias` towards 0 where it is beyond `lambd`, else 0."""
    threshold, bias = c.real("lambd", 0.5), c.real("bias", 0.0)

    def function(x: Held) -> Held:
        zero = c.number(0, x)
        above = c.apply(Compare("greater"), x, c.number(threshold, x))
        below = c.apply(Compare("less"), x, c.number(-threshold, x))
        inner = c.apply(Where(), below, c.apply(Add(), x, c.number(bias, x)), zero)
        return c.apply(Where(), above, c.apply(Sub(), x, c.number(bias, x)), inner)

    return elementwise(c, function)


@reads("PRelu")
def prelu(c: Call) -> Tensor:
    """x, or slope · x below 0, the slope broadcast."""
    operands = [c.input(0), c.input(1)]
    if c.opset < 7 and operands[1].rank == 1:  # one for each channel, not yet broadcast as NumPy does
        operands[1] = reshaped(c, operands[1], (*operands[1].shape, *(1,) * (operands[0].rank - 2)))
    (x, slope), layout = c.aligned(operands)
    channels, wanted = c.shape(x)[-1:], c.shape(slope)
    if c.dtype(x) == "float32" and channels and wanted[-1:] in (channels, (1,), ()) and len(wanted) <= 1:
        if wanted != channels and isinstance(slope, Constant):
            slope = Constant(np.broadcast_to(slope.array, channels))
        if c.shape(slope) == channels:
            return c.tensor(c.apply(PRelu(), x, slope), layout)
    zero = c.number(0, x)
    below = c.apply(Mul(), c.apply(Minimum(), x, zero), slope)
    return c.tensor(c.apply(Add(), c.apply(Maximum(), x, zero), below), layout)


def softmax_axes(c: Call, x: Tensor) -> tuple[int, ...]:
    """The axes that a softmax adds up over: one, before opset 13 all from `axis` on."""
    if c.opset >= 13:
        return (c.axis(c.integer("axis", -1), x.rank),)
    axis = c.integer("axis", 1)
    return tuple(range(c.axis(axis + x.rank if axis < 0 else axis, x.rank + 1), x.rank))


def softmax_layout(c: Call, x: Tensor) -> tuple[Layout, tuple[int, ...], bool]:
    """A layout, the axes in it, and whether they are the one last axis."""
    layout = plain(x.rank) if x.layout.inner else x.layout
    axes = softmax_axes(c, x)
    wide = [axis for axis in axes if x.shape[axis] != 1] or list(axes[-1:])
    held = tuple(layout.order.index(axis) for axis in wide)
    return layout, held, held == (x.rank - 1,)


@reads("Softmax")
def softmax(c: Call) -> Tensor:
    """eˣ / Σ eˣ."""
    x = c.input(0)
    layout, axes, last = softmax_layout(c, x)
    held = c.translation.hold(x, layout)
    if last:
        return c.tensor(c.apply(Softmax(), held), layout)
    powers = c.apply(Exp(), c.apply(Sub(), held, c.apply(ReduceMax(axes, keep_dims=True), held)))
    return c.tensor(c.apply(Div(), powers, c.apply(ReduceSum(axes, keep_dims=True), powers)), layout)


@reads("LogSoftmax")
def log_softmax(c: Call) -> Tensor:
    """Y = x - ln Σ eˣ."""
    x = c.input(0)
    layout, axes, last = softmax_layout(c, x)
    return c.tensor(log_softmax_of(c, c.translation.hold(x, layout), axes, last=last), layout)


def log_softmax_of(c: Call, held: Held, axes: tuple[int, ...], *, last: bool) -> Held:
    """Y = x - ln Σ eˣ over axes as held."""
    if last:
        return c.apply(LogSoftmax(), held)
    shifted = c.apply(Sub(), held, c.apply(ReduceMax(axes, keep_dims=True), held))
    total = c.apply(ReduceSum(axes, keep_dims=True), c.apply(Exp(), shifted))
    return c.apply(Sub(), shifted, c.apply(Log(), total))
