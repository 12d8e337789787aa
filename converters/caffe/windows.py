"""Layers that look at windows of images: convolutions, pooling, local response normalisation, crops."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.caffe.conversion import Blob, Conversion, check_all_read, converts
from edge_sdk.converters.caffe.network import Layer
from edge_sdk.converters.caffe.text_format import Message
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Div, Exp, Log, Mul, Square
from edge_sdk.ops.geometry import Padding, Pair
from edge_sdk.ops.norm import LocalResponseNorm
from edge_sdk.ops.pool import AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.shape import Reshape, Slice
from edge_sdk.spec import BATCH, Array, Value

LARGEST = 1 << 15
"""No window, stride or padding is larger than an image can be."""


@converts("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(c: Conversion, layer: Layer) -> None:
    """Caffe's weights are (k, c / group, r, s)."""
    x = c.image(layer)
    geometry = _Geometry(layer)
    weight, bias = _weights(c, layer, geometry, (geometry.outputs, x.shape[0] // geometry.groups))
    padding: Padding = geometry.padding
    op: Op = Conv2D(geometry.stride, padding, geometry.dilation, geometry.groups)
    turned = weight.transpose(0, 2, 3, 1)
    if geometry.groups == x.shape[0] > 1:
        op, turned = DepthwiseConv2D(geometry.stride, padding, geometry.dilation), weight.transpose(1, 2, 3, 0)
    c.result(layer, c.add(layer, op, x.value, c.param(f"{layer.name}.weight", turned), *bias))


@converts("Deconvolution")
def deconvolution(c: Conversion, layer: Layer) -> None:
    """Caffe's weights are (c, k / group, r, s)."""
    x = c.image(layer)
    geometry = _Geometry(layer)
    groups, outputs = geometry.groups, geometry.outputs
    weight, bias = _weights(c, layer, geometry, (x.shape[0], outputs // groups))
    by_group = weight.reshape(groups, x.shape[0] // groups, outputs // groups, *geometry.kernel)
    turned = by_group.transpose(0, 2, 3, 4, 1).reshape(outputs, *geometry.kernel, x.shape[0] // groups)
    op = ConvTranspose2D(geometry.stride, geometry.padding, geometry.dilation, groups)
    c.result(layer, c.add(layer, op, x.value, c.param(f"{layer.name}.weight", turned), *bias))


class _Geometry:
    """What a convolution_param says."""

    def __init__(self, layer: Layer) -> None:
        parameters = layer.parameters("convolution_param")
        self.outputs = parameters.integer("num_output", 0, 1)
        self.groups = parameters.integer("group", 1, 1)
        self.bias = parameters.flag("bias_term", default=True)
        self.kernel = _pair(parameters, "kernel_size", "kernel_h", "kernel_w", 0)
        self.stride = _pair(parameters, "stride", "stride_h", "stride_w", 1)
        self.dilation = _pair(parameters, "dilation", "", "", 1)
        pad = _pair(parameters, "pad", "pad_h", "pad_w", 0)
        self.padding = ((pad[0], pad[0]), (pad[1], pad[1]))
        if parameters.integer("axis", 1) != 1 or min(self.outputs, *self.kernel) < 1:
            raise FormatError(f"{layer}: wanted num_output and kernel_size of 1 or more, and axis 1")
        if self.outputs % self.groups:
            raise FormatError(f"{layer}: {self.groups} groups do not divide {self.outputs} outputs")
        check_all_read(parameters)


def _weights(c: Conversion, layer: Layer, geometry: _Geometry, ends: Pair) -> tuple[Array, list[Value]]:
    """The checked weights, and the bias as a parameter where there is one."""
    blobs = c.weights(layer, 1 + geometry.bias, 1 + geometry.bias)
    wanted = (*ends, *geometry.kernel)
    if blobs[0].shape != wanted or c.image(layer).shape[0] % geometry.groups:
        raise FormatError(
            f"{layer}: its weights are {list(blobs[0].shape)}, but the definition wants {list(wanted)} for "
            f"{c.image(layer).shape[0]} channels in {geometry.groups} groups"
        )
    return blobs[0], [c.param(f"{layer.name}.bias", blobs[1].reshape(-1))] if geometry.bias else []


def _pair(parameters: Message, name: str, vertical: str, horizontal: str, default: int) -> Pair:
    """(height, width) of a field that is given once, for each axis, or in two fields."""
    both = parameters.integers(name)
    if vertical and (vertical in parameters or horizontal in parameters):
        result = (parameters.integer(vertical, default), parameters.integer(horizontal, default))
    elif len(both) > 2:
        raise FormatError(f"{parameters.path}: {name} is given {len(both)} times; wanted images, of two axes")
    else:
        result = (both[0], both[-1]) if both else (default, default)
    if max(result) > LARGEST:
        raise FormatError(f"{parameters.path}: {name} is {max(result)}, larger than images are")
    return result


@converts("Pooling")
def pooling(c: Conversion, layer: Layer) -> None:
    """Windows are counted by the ceiling; one that would start in the far padding is left out.

    The mean of a window that reaches beyond the image counts the padding, but nothing beyond it.
    """
    x = c.image(layer)
    size = (x.shape[1], x.shape[2])
    parameters = layer.parameters("pooling_param")
    kind = parameters.choice("pool", ("MAX", "AVE", "STOCHASTIC"), "MAX")
    ceil = parameters.choice("round_mode", ("CEIL", "FLOOR"), "CEIL") == "CEIL"
    kernel = _pair(parameters, "kernel_size", "kernel_h", "kernel_w", 0)
    stride = _pair(parameters, "stride", "stride_h", "stride_w", 1)
    pad = _pair(parameters, "pad", "pad_h", "pad_w", 0)
    if parameters.flag("global_pooling", default=False):
        kernel, stride, pad = size, (1, 1), (0, 0)
    check_all_read(parameters)
    if kind == "STOCHASTIC" or len(layer.tops) != 1:
        raise FormatError(f"{layer}: stochastic pooling and masks of maxima have no form here")
    if min(*kernel, *stride) < 1 or any(p >= k for p, k in zip(pad, kernel, strict=True)):
        raise FormatError(
            f"{layer}: kernel {kernel}, stride {stride}, pad {pad}; wanted a window larger than its padding"
        )
    if kind == "AVE" and kernel == size and pad == (0, 0):
        rows = c.builder.add(GlobalAvgPool(), x.value)
        c.result(layer, c.add(layer, Reshape((BATCH, 1, 1, x.shape[0])), rows))
        return
    padding = ((pad[0], pad[0]), (pad[1], pad[1]))
    op: Op = MaxPool2D(kernel, stride, padding, ceil)
    if kind == "AVE":
        op = AvgPool2D(kernel, stride, padding, ceil, count_padding=True)
    y = c.add(layer, op, x.value)
    wanted = tuple(_caffe_count(*axis, ceil=ceil) for axis in zip(size, kernel, stride, pad, strict=True))
    if c.builder.spec(y).shape[1:3] != wanted:
        raise FormatError(f"{layer}: some of its windows lie beyond the image, where Caffe's result is no number")
    c.result(layer, y)


def _caffe_count(size: int, kernel: int, stride: int, pad: int, *, ceil: bool) -> int:
    """PoolingLayer::Reshape."""
    room = size + 2 * pad - kernel
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if pad and (count - 1) * stride >= size + pad else count


@converts("LRN")
def local_response_norm(c: Conversion, layer: Layer) -> None:
    """Across channels, or within each one over a square: x · (1 + alpha · mean of x²)^-beta."""
    x = c.image(layer)
    parameters = layer.parameters("lrn_param")
    size = parameters.integer("local_size", 5, 1)
    alpha, beta = parameters.number("alpha", 1.0), parameters.number("beta", 0.75)
    k = parameters.number("k", 1.0)
    region = parameters.choice("norm_region", ("ACROSS_CHANNELS", "WITHIN_CHANNEL"), "ACROSS_CHANNELS")
    check_all_read(parameters)
    if size % 2 == 0 or size > LARGEST:
        raise FormatError(f"{layer}: local_size is {size}, wanted an odd number")
    if region == "ACROSS_CHANNELS":
        c.result(layer, c.add(layer, LocalResponseNorm(size, alpha, beta, k), x.value))
        return
    g, half = c.builder, size // 2
    pool = AvgPool2D((size, size), (1, 1), ((half, half), (half, half)), count_padding=True)
    mean = g.add(pool, g.add(Square(), x.value))
    base = g.add(Add(), g.add(Mul(), mean, c.scalar(layer, alpha)), c.scalar(layer, 1.0))
    power = g.add(Exp(), g.add(Mul(), g.add(Log(), base), c.scalar(layer, beta)))
    c.result(layer, c.add(layer, Div(), x.value, power))


@converts("Crop")
def crop(c: Conversion, layer: Layer) -> None:
    """The part of the first blob that is as large as the second, from `offset` on."""
    x, like = c.image(layer), c.image(layer, 1)
    parameters = layer.parameters("crop_param")
    axis, offsets = parameters.integer("axis", 2, 1), parameters.integers("offset")
    check_all_read(parameters)
    if axis > 3 or len(offsets) not in (0, 1, 4 - axis):
        raise FormatError(
            f"{layer}: axis {axis} with {len(offsets)} offsets; wanted an axis up to 3, and one offset each"
        )
    starts = offsets * (4 - axis) if len(offsets) == 1 else offsets or [0] * (4 - axis)
    begin, size = np.zeros(3, int), list(x.shape)
    begin[axis - 1 :], size[axis - 1 :] = starts, like.shape[axis - 1 :]
    op = Slice((0, *(int(begin[i]) for i in (1, 2, 0))), (-1, *(size[i] for i in (1, 2, 0))))
    c.blob_result(layer, Blob(c.add(layer, op, x.value), tuple(size)))
