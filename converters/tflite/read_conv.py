"""Convolutions. Their weights lie in the file as the graph wants them."""

from __future__ import annotations

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import Conv2DOptions, DepthwiseConv2DOptions, TransposeConvOptions
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin, Padding
from edge_sdk.errors import FormatError
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.geometry import Padding as GraphPadding
from edge_sdk.ops.geometry import Pair
from edge_sdk.spec import Value

RULES: dict[Padding, GraphPadding] = {Padding.SAME: "same", Padding.VALID: "valid"}


@reads(Builtin.CONV_2D)
def conv2d(r: Reading, operator: FileOperator) -> None:
    """conv2d; groups follow from the channels of image and weights."""
    options = operator.options(Conv2DOptions)
    x = r.value(operator, 0)
    inputs = (x, r.weight(operator, 1, x), *bias(r, operator, x))
    channels, depth = r.spec(x).shape[-1:], r.spec(inputs[1]).shape[-1:]
    if not channels or not depth or depth[0] == 0 or channels[0] % depth[0]:
        raise FormatError(f"it convolves {r.spec(x)} with {r.spec(inputs[1])}")
    op = Conv2D(
        (options.stride_h, options.stride_w),
        RULES[options.padding],
        (options.dilation_h_factor, options.dilation_w_factor),
        channels[0] // depth[0],
    )
    r.emit(operator, op, *inputs, activation=options.fused_activation_function)


@reads(Builtin.DEPTHWISE_CONV_2D)
def depthwise_conv2d(r: Reading, operator: FileOperator) -> None:
    """depthwise_conv2d."""
    options = operator.options(DepthwiseConv2DOptions)
    x = r.value(operator, 0)
    inputs = (x, r.weight(operator, 1, x), *bias(r, operator, x))
    op = DepthwiseConv2D(
        (options.stride_h, options.stride_w),
        RULES[options.padding],
        (options.dilation_h_factor, options.dilation_w_factor),
    )
    r.emit(operator, op, *inputs, activation=options.fused_activation_function)


@reads(Builtin.TRANSPOSE_CONV)
def transpose_conv(r: Reading, operator: FileOperator) -> None:
    """conv_transpose2d, of which so much is cut off that the size is the one that the file states."""
    options = operator.options(TransposeConvOptions)
    x = r.value(operator, 2)
    w = r.weight(operator, 1, x)
    rest = (r.weight(operator, 3, x),) if r.has(operator, 3) else ()
    image, kernel, stated = r.spec(x), r.spec(w), r.file.tensors[operator.outputs[0]].shape
    if image.rank != 4 or kernel.rank != 4 or len(stated) != 4:
        raise FormatError(f"it makes {list(stated)} of {image} with {kernel}; wanted images")
    stride = (options.stride_h, options.stride_w)
    cuts = [
        _cut_off(options.padding, extent, reach, step, wanted)
        for extent, reach, step, wanted in zip(image.shape[1:3], kernel.shape[1:3], stride, stated[1:3], strict=True)
    ]
    padding = ((cuts[0][0], max(cuts[0][1], 0)), (cuts[1][0], max(cuts[1][1], 0)))
    more = (max(-cuts[0][1], 0), max(-cuts[1][1], 0))
    op = ConvTranspose2D(stride, padding, output_padding=more)
    r.emit(operator, op, x, w, *rest, activation=options.fused_activation_function)


def _cut_off(rule: Padding, extent: int, kernel: int, stride: int, wanted: int) -> Pair:
    """Return how many rows go before and after, fewer than 0 where some are added, as the forward convolution pads."""
    whole = (extent - 1) * stride + kernel
    total = max((-(-wanted // stride) - 1) * stride + kernel - wanted, 0) if rule is Padding.SAME else 0
    return total // 2, whole - total // 2 - wanted


def bias(r: Reading, operator: FileOperator, x: Value) -> tuple[Value, ...]:
    """Return the bias, the third input, where there is one."""
    return (r.weight(operator, 2, x),) if r.has(operator, 2) else ()
