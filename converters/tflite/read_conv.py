"""Convolutions. Their weights lie in the file as the graph wants them."""

from __future__ import annotations

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import Conv2DOptions, DepthwiseConv2DOptions
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin, Padding
from edge_sdk.errors import FormatError
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.geometry import Padding as GraphPadding
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


def bias(r: Reading, operator: FileOperator, x: Value) -> tuple[Value, ...]:
    """Return the bias, the third input, where there is one."""
    return (r.weight(operator, 2, x),) if r.has(operator, 2) else ()
