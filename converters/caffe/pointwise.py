"""Layers that treat every number, or every channel, by itself; and sums and products of blobs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_sdk.converters.caffe.caffemodel import divided_statistics
from edge_sdk.converters.caffe.conversion import Blob, Conversion, check_all_read, converts
from edge_sdk.converters.caffe.network import Layer
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.activation import LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Silu, Softmax, Tanh
from edge_sdk.ops.elementwise import Abs, Add, Div, Exp, Log, Maximum, Minimum, Mul, Neg, Sqrt, Square
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.shape import Reshape
from edge_sdk.spec import BATCH, Array, Value

MOST_FACTORS = 8
"""Whole powers up to this one are products."""


@converts("ReLU")
def relu(c: Conversion, layer: Layer) -> None:
    """With a negative_slope, a leaky one."""
    parameters = layer.parameters("relu_param")
    slope = parameters.number("negative_slope", 0.0)
    check_all_read(parameters)
    _unary(c, layer, LeakyRelu(slope) if slope else Relu())


@converts("ReLU6")
def relu6(c: Conversion, layer: Layer) -> None:
    """min(max(x, 0), 6), of several forks."""
    _unary(c, layer, Relu6())


@converts("Sigmoid")
def sigmoid(c: Conversion, layer: Layer) -> None:
    """1 / (1 + e⁻ˣ)."""
    _unary(c, layer, Sigmoid())


@converts("TanH")
def tanh(c: Conversion, layer: Layer) -> None:
    """Tanh x."""
    _unary(c, layer, Tanh())


@converts("AbsVal")
def absolute(c: Conversion, layer: Layer) -> None:
    """|x|."""
    _unary(c, layer, Abs())


@converts("Dropout")
def dropout(c: Conversion, layer: Layer) -> None:
    """The identity in phase TEST; it is kept for further training."""
    parameters = layer.parameters("dropout_param")
    rate = parameters.number("dropout_ratio", 0.5)
    check_all_read(parameters)
    _unary(c, layer, Dropout(rate))


@converts("Swish")
def swish(c: Conversion, layer: Layer) -> None:
    """X · sigmoid(beta · x)."""
    parameters = layer.parameters("swish_param")
    beta = parameters.number("beta", 1.0)
    check_all_read(parameters)
    if beta == 1:
        _unary(c, layer, Silu())
        return
    x, g = c.bottom(layer), c.builder
    gate = g.add(Sigmoid(), g.add(Mul(), x.value, c.scalar(layer, beta)))
    c.pointwise(layer, x, c.add(layer, Mul(), x.value, gate))


@converts("ELU")
def elu(c: Conversion, layer: Layer) -> None:
    """X where it is positive, else alpha · (eˣ - 1)."""
    parameters = layer.parameters("elu_param")
    alpha = parameters.number("alpha", 1.0)
    check_all_read(parameters)
    x, g = c.bottom(layer), c.builder
    below = g.add(Exp(), g.add(Minimum(), x.value, c.scalar(layer, 0.0)))
    negative = g.add(Mul(), g.add(Add(), below, c.scalar(layer, -1.0)), c.scalar(layer, alpha))
    c.pointwise(layer, x, c.add(layer, Add(), g.add(Relu(), x.value), negative))


@converts("BNLL")
def binomial_log_likelihood(c: Conversion, layer: Layer) -> None:
    """ln(1 + eˣ), as max(x, 0) + ln(1 + e^-|x|)."""
    x, g = c.bottom(layer), c.builder
    small = g.add(Exp(), g.add(Neg(), g.add(Abs(), x.value)))
    rest = g.add(Log(), g.add(Add(), small, c.scalar(layer, 1.0)))
    c.pointwise(layer, x, c.add(layer, Add(), g.add(Relu(), x.value), rest))


@converts("Power")
def power(c: Conversion, layer: Layer) -> None:
    """(shift + scale · x)^power."""
    parameters = layer.parameters("power_param")
    exponent = parameters.number("power", 1.0)
    scale, shift = parameters.number("scale", 1.0), parameters.number("shift", 0.0)
    check_all_read(parameters)
    x = c.bottom(layer)
    c.pointwise(layer, x, _power(c, layer, _affine(c, layer, x.value, scale, shift), exponent))


@converts("Exp")
def exponential(c: Conversion, layer: Layer) -> None:
    """base^(shift + scale · x); a base of -1 stands for e."""
    parameters = layer.parameters("exp_param")
    base = parameters.number("base", -1.0)
    scale, shift = parameters.number("scale", 1.0), parameters.number("shift", 0.0)
    check_all_read(parameters)
    x, factor = c.bottom(layer), _natural_log(layer, base)
    c.pointwise(layer, x, c.add(layer, Exp(), _affine(c, layer, x.value, scale * factor, shift * factor)))


@converts("Log")
def logarithm(c: Conversion, layer: Layer) -> None:
    """The logarithm of shift + scale · x; a base of -1 stands for e."""
    parameters = layer.parameters("log_param")
    base = parameters.number("base", -1.0)
    scale, shift = parameters.number("scale", 1.0), parameters.number("shift", 0.0)
    check_all_read(parameters)
    x, factor = c.bottom(layer), _natural_log(layer, base)
    y = c.builder.add(Log(), _affine(c, layer, x.value, scale, shift))
    c.pointwise(layer, x, _affine(c, layer, y, 1 / factor, 0.0))


@converts("PReLU")
def parametric_relu(c: Conversion, layer: Layer) -> None:
    """One slope a channel, or one for all, which is then a constant."""
    parameters = layer.parameters("prelu_param")
    shared = parameters.flag("channel_shared", default=False)
    check_all_read(parameters)
    x, (slopes,) = c.channelled(layer), c.weights(layer, 1, 1)
    if shared:
        if slopes.size != 1 or not np.isfinite(slopes).all():
            raise FormatError(f"{layer}: slopes {slopes.reshape(-1)[:4].tolist()}, wanted one for all channels")
        c.pointwise(layer, x, c.add(layer, LeakyRelu(float(slopes.reshape(-1)[0])), x.value))
    else:
        c.pointwise(layer, x, c.add(layer, PRelu(), x.value, c.param(f"{layer.name}.weight", slopes.reshape(-1))))


@converts("Softmax")
def softmax(c: Conversion, layer: Layer) -> None:
    """Over the channels."""
    parameters = layer.parameters("softmax_param")
    axis = parameters.integer("axis", 1, -4)
    check_all_read(parameters)
    x = c.channelled(layer)
    if axis not in (1, -len(x.shape)):
        raise FormatError(f"{layer}: axis {axis} of a blob of shape {list(x.shape)}; wanted the channels, axis 1")
    c.pointwise(layer, x, c.add(layer, Softmax(), x.value))


@converts("BatchNorm")
def batch_norm(c: Conversion, layer: Layer) -> None:
    """Blobs mean, variance and the factor that both are times; the Scale layer behind it is made part of it."""
    parameters = layer.parameters("batch_norm_param")
    epsilon = parameters.number("eps", 1e-5)
    stored = parameters.flag("use_global_stats", default=True)
    parameters.ignore("moving_average_fraction")
    check_all_read(parameters)
    if not stored:
        raise FormatError(f"{layer}: use_global_stats is false: it normalises by each batch; wanted stored statistics")
    x = c.channelled(layer)
    mean, variance = divided_statistics(c.weights(layer, 3, 3), layer.name)
    after = c.absorb_reader(layer, "Scale")
    name = layer.name
    if after is None:
        scale, offset = np.ones(mean.size), np.zeros(mean.size)
    else:
        scale, offset = _scale_and_offset(c, after, mean.size)
        name = after.name
    arrays = {
        f"{name}.scale": scale,
        f"{name}.offset": offset,
        f"{layer.name}.mean": mean,
        f"{layer.name}.variance": variance,
    }
    inputs = [c.param(key, array) for key, array in arrays.items()]
    c.pointwise(after or layer, x, c.add(layer, BatchNorm(epsilon), x.value, *inputs))


@converts("Scale")
def scale(c: Conversion, layer: Layer) -> None:
    """By a weight a channel and an offset; or one blob by another, as squeeze-and-excitation does."""
    if len(layer.bottoms) == 2:
        _scale_by_blob(c, layer)
        return
    x = c.channelled(layer)
    factor, offset = _scale_and_offset(c, layer, x.shape[0])
    scaled = c.builder.add(Mul(), x.value, c.param(f"{layer.name}.weight", factor))
    if "bias_term" in layer.parameters("scale_param"):
        scaled = c.add(layer, Add(), scaled, c.param(f"{layer.name}.bias", offset))
    c.pointwise(layer, x, scaled)


@converts("Bias")
def bias(c: Conversion, layer: Layer) -> None:
    """An offset a channel."""
    parameters = layer.parameters("bias_param")
    _check_axis(layer, parameters.integer("axis", 1), parameters.integer("num_axes", 1))
    check_all_read(parameters)
    x, (offset,) = c.channelled(layer), c.weights(layer, 1, 1)
    _check_channels(layer, offset, x.shape[0])
    c.pointwise(layer, x, c.add(layer, Add(), x.value, c.param(f"{layer.name}.bias", offset.reshape(-1))))


@converts("Eltwise")
def elementwise(c: Conversion, layer: Layer) -> None:
    """The sum, with factors, the product, or the largest of blobs."""
    parameters = layer.parameters("eltwise_param")
    kind = parameters.choice("operation", ("PROD", "SUM", "MAX"), "SUM")
    factors = parameters.numbers("coeff")
    check_all_read(parameters)
    blobs = c.bottoms(layer)
    if len(blobs) < 2 or any(blob.shape != blobs[0].shape for blob in blobs):
        raise FormatError(
            f"{layer} reads blobs of shapes {[list(blob.shape) for blob in blobs]}, wanted two or more alike"
        )
    if factors and (kind != "SUM" or len(factors) != len(blobs)):
        raise FormatError(
            f"{layer}: {len(factors)} factors for the {kind} of {len(blobs)} blobs; wanted one each, of a SUM"
        )
    if any(blob.image != blobs[0].image for blob in blobs):
        blobs = [Blob(c.plain(blob), blob.shape) for blob in blobs]
    values = [blob.value for blob in blobs]
    values = [
        _affine(c, layer, x, factor, 0.0) for x, factor in zip(values, factors or [1.0] * len(values), strict=True)
    ]
    op: Op = {"PROD": Mul(), "SUM": Add(), "MAX": Maximum()}[kind]
    total = values[0]
    for value in values[1:]:
        total = c.add(layer, op, total, value)
    c.pointwise(layer, blobs[0], total)


def _unary(c: Conversion, layer: Layer, op: Op) -> None:
    x = c.bottom(layer)
    c.pointwise(layer, x, c.add(layer, op, x.value))


def _affine(c: Conversion, layer: Layer, x: Value, factor: float, offset: float) -> Value:
    """Factor · x + offset, and x itself where that changes nothing."""
    if factor != 1:
        x = c.builder.add(Mul(), x, c.scalar(layer, factor))
    return x if offset == 0 else c.builder.add(Add(), x, c.scalar(layer, offset))


def _power(c: Conversion, layer: Layer, x: Value, exponent: float) -> Value:
    """X to a power: of any number a whole one, of numbers from 0 on every one."""
    g = c.builder
    if exponent < 0:
        return g.add(Div(), c.scalar(layer, 1.0), _power(c, layer, x, -exponent))
    if exponent == 0.5:
        return g.add(Sqrt(), x)
    if exponent == 0:  # 1 for every number: e⁰
        return g.add(Exp(), g.add(Mul(), x, c.scalar(layer, 0.0)))
    if exponent == int(exponent) and exponent <= MOST_FACTORS:
        result = x
        for count in range(2, int(exponent) + 1):
            result = g.add(Square(), x) if count == 2 else g.add(Mul(), result, x)
        return result
    if exponent == int(exponent):
        raise FormatError(f"{layer}: power {exponent}; wanted a whole one up to {MOST_FACTORS}, or a fraction")
    return g.add(Exp(), g.add(Mul(), g.add(Log(), x), c.scalar(layer, exponent)))


def _natural_log(layer: Layer, base: float) -> float:
    if base == -1:
        return 1.0
    if base <= 0 or base == 1:
        raise FormatError(f"{layer}: base is {base}, wanted a positive number other than 1, or -1 for e")
    return math.log(base)


def _scale_and_offset(c: Conversion, layer: Layer, channels: int) -> tuple[Array, Array]:
    """The blobs of a Scale layer; without an offset, zeros."""
    parameters = layer.parameters("scale_param")
    _check_axis(layer, parameters.integer("axis", 1), parameters.integer("num_axes", 1))
    has_offset = parameters.flag("bias_term", default=False)
    check_all_read(parameters)
    blobs: Sequence[Array] = c.weights(layer, 1 + has_offset, 1 + has_offset)
    for blob in blobs:
        _check_channels(layer, blob, channels)
    factor = blobs[0].reshape(-1)
    return factor, blobs[1].reshape(-1) if has_offset else np.zeros_like(factor)


def _scale_by_blob(c: Conversion, layer: Layer) -> None:
    """Images (c, h, w) by a number (c) or (c, 1, 1) a channel."""
    parameters = layer.parameters("scale_param")
    axis, has_offset = parameters.integer("axis", 1), parameters.flag("bias_term", default=False)
    parameters.ignore("num_axes")
    check_all_read(parameters)
    x, by = c.image(layer), c.channelled(layer, 1)
    if axis != 0 or has_offset or by.shape not in ((x.shape[0],), (x.shape[0], 1, 1), x.shape):
        raise FormatError(
            f"{layer}: a blob of shape {list(x.shape)} by one of {list(by.shape)} from axis {axis} on; wanted one "
            "number a channel from axis 0 on, without bias_term"
        )
    factor = by.value if len(by.shape) == 3 else c.builder.add(Reshape((BATCH, 1, 1, x.shape[0])), by.value)
    c.pointwise(layer, x, c.add(layer, Mul(), x.value, factor))


def _check_axis(layer: Layer, axis: int, count: int) -> None:
    if (axis, count) != (1, 1):
        raise FormatError(f"{layer}: axis {axis} and num_axes {count}; wanted one number a channel, axis 1")


def _check_channels(layer: Layer, blob: Array, channels: int) -> None:
    if blob.size != channels:
        raise FormatError(f"{layer}: its weights are {list(blob.shape)}, but its blob has {channels} channels")
