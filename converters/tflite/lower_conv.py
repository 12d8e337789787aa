"""Convolutions. The weights of the graph lie in memory as TFLite wants them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_sdk.converters.tflite.geometry import Window, choose_window, pad_image
from edge_sdk.converters.tflite.lower_elementwise import add_options
from edge_sdk.converters.tflite.lowering import FUSED, Lowering, Tensor, lower
from edge_sdk.converters.tflite.options import (
    ConcatenationOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    SplitOptions,
)
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.graph import Node
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.quantization.parameters import bias_type
from edge_sdk.spec import Array, QuantParams

RESIDUAL = 3  # the place of conv2d's optional summand among its inputs


@lower(Conv2D)
def conv2d(t: Lowering, op: Conv2D, node: Node) -> None:
    """CONV_2D; with a group a channel DEPTHWISE_CONV_2D; with other groups SPLIT, CONV_2D each and CONCATENATION.

    A residual is summed by an ADD of its own, which then has the activation.
    """
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    if len(node.inputs) > RESIDUAL:
        whole, y = y, t.temporary(f"{y.name}/convolution", y.spec)
        _convolve(t, replace(op, activation=None), node, x, y)
        t.emit(Builtin.ADD, [y, t.read(node.inputs[RESIDUAL])], [whole], add_options(op, y))
    else:
        _convolve(t, op, node, x, y)


def _convolve(t: Lowering, op: Conv2D, node: Node, x: Tensor, y: Tensor) -> None:
    w, quant = t.array(node.inputs[1]), t.spec(node.inputs[1]).quant
    window, x = _window(t, op, x, y, w)
    if op.groups > 1 and op.groups == x.spec.shape[3]:
        # (k, r, s, 1) → (1, r, s, k): output channel c · m + j reads input channel c in both forms.
        moved = np.ascontiguousarray(w.transpose(3, 1, 2, 0))
        moved_quant = replace(quant, axis=3) if quant is not None and quant.axis == 0 else quant
        weight = t.weight(node.inputs[1], moved, moved_quant, axis=3)
        plain = DepthwiseConv2D(op.stride, op.padding, op.dilation, op.activation)
        _emit_depthwise(t, plain, window, x, weight, bias_of(t, node, x, weight), y)
    elif op.groups > 1:
        _grouped(t, op, node, window, x, y)
    else:
        weight = t.weight(node.inputs[1], w, quant, _scales(t))
        _emit_conv(t, op, window, x, weight, bias_of(t, node, x, weight), y)


@lower(DepthwiseConv2D)
def depthwise_conv2d(t: Lowering, op: DepthwiseConv2D, node: Node) -> None:
    """DEPTHWISE_CONV_2D."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    w, quant = t.array(node.inputs[1]), t.spec(node.inputs[1]).quant
    window, x = _window(t, op, x, y, w)
    weight = t.weight(node.inputs[1], w, quant, axis=3)
    _emit_depthwise(t, op, window, x, weight, bias_of(t, node, x, weight), y)


def _window(t: Lowering, op: Conv2D | DepthwiseConv2D, x: Tensor, y: Tensor, w: Array) -> tuple[Window, Tensor]:
    """Choose the padding rule; where pixels must be added first, add them."""
    size, output = (x.spec.shape[1], x.spec.shape[2]), (y.spec.shape[1], y.spec.shape[2])
    window = choose_window(op.padding, size, output, (w.shape[1], w.shape[2]), op.stride, op.dilation)
    return window, x if window.pads is None else pad_image(t, x, window.pads)


def _emit_conv(t: Lowering, op: Conv2D, window: Window, x: Tensor, weight: Tensor, bias: Tensor, y: Tensor) -> None:
    options = Conv2DOptions(
        padding=window.rule,
        stride_h=op.stride[0],
        stride_w=op.stride[1],
        dilation_h_factor=op.dilation[0],
        dilation_w_factor=op.dilation[1],
        fused_activation_function=FUSED[op.activation],
    )
    t.emit(Builtin.CONV_2D, [x, weight, bias], [y], options)


def _emit_depthwise(
    t: Lowering, op: DepthwiseConv2D, window: Window, x: Tensor, weight: Tensor, bias: Tensor, y: Tensor
) -> None:
    options = DepthwiseConv2DOptions(
        padding=window.rule,
        stride_h=op.stride[0],
        stride_w=op.stride[1],
        dilation_h_factor=op.dilation[0],
        dilation_w_factor=op.dilation[1],
        depth_multiplier=weight.spec.shape[3] // x.spec.shape[3],
        fused_activation_function=FUSED[op.activation],
    )
    t.emit(Builtin.DEPTHWISE_CONV_2D, [x, weight, bias], [y], options)


def _grouped(t: Lowering, op: Conv2D, node: Node, window: Window, x: Tensor, y: Tensor) -> None:
    # CONV_2D with groups of its own (version 6) is refused by runtimes before 2.9 and by most delegates.
    w, quant = t.array(node.inputs[1]), t.spec(node.inputs[1]).quant
    channels, outputs = x.spec.shape[3] // op.groups, w.shape[0] // op.groups
    part = replace(x.spec, shape=(*x.spec.shape[:3], channels))
    parts = [t.temporary(f"{y.name}/input_{g}", part) for g in range(op.groups)]
    axis = t.constant(f"{y.name}/channel_axis", np.array(3, np.int32))
    t.emit(Builtin.SPLIT, [axis, x], parts, SplitOptions(num_splits=op.groups))
    results = []
    for g, piece in enumerate(parts):
        chosen = slice(g * outputs, (g + 1) * outputs)
        weight = t.weight(f"{node.inputs[1]}/{g}", np.ascontiguousarray(w[chosen]), part_of(quant, chosen), _scales(t))
        result = t.temporary(f"{y.name}/{g}", replace(y.spec, shape=(*y.spec.shape[:3], outputs)))
        _emit_conv(t, op, window, piece, weight, bias_of(t, node, piece, weight, chosen), result)
        results.append(result)
    t.emit(Builtin.CONCATENATION, results, [y], ConcatenationOptions(axis=3))


def _scales(t: Lowering) -> int | None:
    """The axis along which int8 weights under float pixels have their scales; one for all in runtimes before 2.4."""
    return None if t.must_avoid(Builtin.CONV_2D, 5) else 0


def bias_of(t: Lowering, node: Node, x: Tensor, weight: Tensor, chosen: slice | None = None) -> Tensor:
    """Write the bias of a node's outputs, or zeros where it has none; `chosen` are those of a group."""
    outputs = t.spec(node.output).shape[3] if chosen is None else chosen.stop - chosen.start
    if len(node.inputs) < 3:
        return zero_bias(t, x, weight, outputs)
    value = node.inputs[2]
    if chosen is None:
        return t.read(value)
    part = np.ascontiguousarray(t.array(value)[chosen])
    return t.constant(f"{value}/{chosen.start}", part, part_of(t.spec(value).quant, chosen))


def zero_bias(t: Lowering, x: Tensor, weight: Tensor, outputs: int) -> Tensor:
    """Add a bias of zeros, which not every runtime lets one leave out."""
    quant = None
    if x.spec.quant is not None and weight.spec.quant is not None:
        scales = tuple(x.spec.quant.scale[0] * scale for scale in weight.spec.quant.scale)
        quant = QuantParams(scales, (0,) * len(scales), None if weight.spec.quant.axis is None else 0)
    dtype = np.dtype(np.float32) if quant is None else bias_type(x.spec.dtype)
    return t.constant(f"{weight.name}/no_bias", np.zeros(outputs, dtype), quant)


def part_of(quant: QuantParams | None, chosen: slice) -> QuantParams | None:
    """Return the parameters of some output channels."""
    if quant is None or quant.axis is None:
        return quant
    return replace(quant, scale=quant.scale[chosen], zero_point=quant.zero_point[chosen])
