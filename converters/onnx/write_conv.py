"""Convolutions. Weights (k, r, s, c) are turned once to ONNX's (k, c, r, s)."""

from __future__ import annotations

from typing import Any

from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.onnx_graph import Written
from edge_sdk.converters.onnx.write_activation import activated
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.spec import Spec

RESIDUAL = 3  # the place of conv2d's optional summand among its inputs
INPUTS_LAST = Layout((1, 2, 3, 0))
"""(a, r, s, b) as ONNX's (b, a, r, s): depthwise weights (1, r, s, k) and transposed ones (k, r, s, c)."""


@writes(Conv2D)
def conv2d(t: Writing, op: Conv2D, node: Node) -> None:
    """Conv; Add for a residual; Relu or Clip."""
    x, weight = t.image(node.inputs[0]), t.weight(node.inputs[1], channels_last(4), axis=0)
    y = t.declare_image(node.output)
    result = _convolve(t, op, node, x, weight, op.groups, y, residual=len(node.inputs) > RESIDUAL)
    if len(node.inputs) > RESIDUAL:
        total = y if op.activation is None else t.before(y, "sum")
        t.emit("Add", [result, t.image(node.inputs[RESIDUAL])], total)
        result = total
    activated(t, op.activation, result, y)


@writes(DepthwiseConv2D)
def depthwise_conv2d(t: Writing, op: DepthwiseConv2D, node: Node) -> None:
    """Conv with a group a channel; Relu or Clip."""
    x, weight = t.image(node.inputs[0]), t.weight(node.inputs[1], INPUTS_LAST, axis=3)
    y = t.declare_image(node.output)
    result = _convolve(t, op, node, x, weight, x.spec.shape[3], y, residual=False)
    activated(t, op.activation, result, y)


def _convolve(
    t: Writing,
    op: Conv2D | DepthwiseConv2D,
    node: Node,
    x: Written,
    weight: Written,
    groups: int,
    y: Written,
    *,
    residual: bool,
) -> Written:
    kernel = (weight.shape[2], weight.shape[3])
    pads = resolve_padding(op.padding, (x.spec.shape[1], x.spec.shape[2]), kernel, op.stride, op.dilation)
    result = t.before(y, "convolution") if residual or op.activation is not None else y
    geometry = _geometry(kernel, op.stride, op.dilation, pads, groups)
    t.emit("Conv", [x, weight, *_bias(t, node)], result, **geometry)
    return result


@writes(ConvTranspose2D)
def conv_transpose2d(t: Writing, op: ConvTranspose2D, node: Node) -> None:
    """ConvTranspose; Relu or Clip."""
    x, weight = t.image(node.inputs[0]), _transposed_weight(t, op, node)
    y = t.declare_image(node.output)
    result = y if op.activation is None else t.before(y, "convolution")
    geometry = _geometry((weight.shape[2], weight.shape[3]), op.stride, op.dilation, op.padding, op.groups)
    t.emit("ConvTranspose", [x, weight, *_bias(t, node)], result, output_padding=list(op.output_padding), **geometry)
    activated(t, op.activation, result, y)


def _transposed_weight(t: Writing, op: ConvTranspose2D, node: Node) -> Written:
    """Weights as (c, k / groups, r, s).

    With groups, no axis of those has the scale of an output: integers are stored with an axis of outputs, and the real
    numbers that they stand for are moved, which runtimes do once.
    """
    value = node.inputs[1]
    if op.groups == 1:
        return t.weight(value, INPUTS_LAST, axis=0)
    k, r, s, c = t.spec(value).shape
    groups, outputs = op.groups, k // op.groups
    apart, moved, joined = (groups, outputs, c, r, s), (groups, c, outputs, r, s), (groups * c, outputs, r, s)
    if t.is_constant(value) and t.spec(value).quant is None and t.weights == "float32":
        by_group = t.workspace[value].transpose(0, 3, 1, 2).reshape(apart).swapaxes(1, 2).reshape(joined)
        return t.initializer(t.free(f"{value}/by_group"), by_group, plain(4), Spec(joined, t.spec(value).dtype))
    weight = t.weight(value, channels_last(4), axis=0)
    steps = [t.temporary(f"{value}/{name}", plain(len(shape)), Spec(shape, weight.spec.dtype)) for name, shape in (
        ("groups", apart), ("groups_moved", moved), ("by_group", joined)
    )]  # fmt: skip
    t.reshape(weight, steps[0])
    t.emit("Transpose", [steps[0]], steps[1], perm=[0, 2, 1, 3, 4])
    t.reshape(steps[1], steps[2])
    return steps[2]


def _bias(t: Writing, node: Node) -> list[Written]:
    return [t.read(node.inputs[2])] if len(node.inputs) > 2 else []


def _geometry(kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[Pair, Pair], groups: int) -> dict[str, Any]:
    (top, bottom), (left, right) = pads
    return {
        "kernel_shape": list(kernel),
        "strides": list(stride),
        "dilations": list(dilation),
        "pads": [top, left, bottom, right],
        "group": groups,
    }
