"""Lowering of convolutions and dense layers."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.flatfile import TensorId
from edge_sdk.converters.tflite.lowering import ACTIVATIONS, INT8_VERSIONS, Lowering, lower
from edge_sdk.converters.tflite.options import (
    BatchMatMulOptions,
    ConcatenationOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    PadOptions,
    SplitOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, Padding
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import QuantParams

DYNAMIC_CONV, DYNAMIC_LINEAR = 5, 9  # versions with int8 weights beside float activations


def padded_input(t: Lowering, node: Node, op: Conv2D | DepthwiseConv2D) -> tuple[TensorId, Padding]:
    """The input and padding scheme of a window operator: padding that TFLite cannot say becomes a PAD before it."""
    x = node.inputs[0]
    n, h, w, c = t.spec(x).shape
    _, r, s, _ = t.spec(node.inputs[1]).shape
    pads = resolve_padding(op.padding, (h, w), (r, s), op.stride, op.dilation)
    if pads == ((0, 0), (0, 0)):
        return t.tensor(x), Padding.VALID
    if pads == resolve_padding("same", (h, w), (r, s), op.stride, op.dilation):
        return t.tensor(x), Padding.SAME
    padded = t.between(x, (n, h + sum(pads[0]), w + sum(pads[1]), c))
    paddings = t.constant(np.array([(0, 0), *pads, (0, 0)], np.int32))
    t.emit(Builtin.PAD, [t.tensor(x), paddings], [padded], PadOptions(), int8=t.quantized(x))
    return padded, Padding.VALID


def bias_of(t: Lowering, node: Node) -> TensorId:
    """The bias of a layer; kernels of some runtimes ask for one, so a missing one is zeros."""
    if len(node.inputs) == 3:
        return t.tensor(node.inputs[2])
    outputs = t.spec(node.outputs[0]).shape[-1]
    if not t.quantized(node.outputs[0]):
        return t.constant(np.zeros(outputs, np.float32))
    x, w = t.spec(node.inputs[0]).quant, t.spec(node.inputs[1]).quant
    if x is None or w is None:
        raise ExportError(f"{node.outputs[0]}: an int8 layer whose input or weights have no scale")
    scales = tuple(float(np.float32(x.scale[0]) * np.float32(s)) for s in w.scale)
    quant = QuantParams(scales, (0,) * len(scales), None if w.axis is None else 0)
    return t.constant(np.zeros(outputs, np.int32), quant=quant)


@lower(Conv2D)
def conv2d(t: Lowering, node: Node, op: Conv2D) -> None:
    """CONV_2D; a grouped one as a convolution for each group between SPLIT and CONCATENATION."""
    x, padding = padded_input(t, node, op)
    options = Conv2DOptions(
        padding, op.stride[1], op.stride[0], ACTIVATIONS[op.activation], op.dilation[1], op.dilation[0]
    )
    if op.groups > 1:
        _grouped(t, node, op, x, options)
        return
    weight = t.weight(node.inputs[1], axis=0)
    version = DYNAMIC_CONV if t.precision == "dynamic" else None
    inputs, outputs = [x, weight, bias_of(t, node)], [t.tensor(node.output)]
    t.emit(Builtin.CONV_2D, inputs, outputs, options, int8=t.quantized(node.output), version=version)


def _grouped(t: Lowering, node: Node, op: Conv2D, x: TensorId, options: Conv2DOptions) -> None:
    if t.quantized(node.output):
        raise ExportError(f"int8: no 8-bit form of a convolution in {op.groups} groups ({node.output})")
    shape, out = t.subgraph.tensors[x].shape, t.spec(node.output).shape
    channels, outputs = shape[3] // op.groups, out[3] // op.groups
    parts = [t.between(node.inputs[0], (*shape[:3], channels)) for _ in range(op.groups)]
    axis = t.constant(np.array(3, np.int32))
    t.emit(Builtin.SPLIT, [axis, x], parts, SplitOptions(op.groups))
    weights = t.workspace[node.inputs[1]]
    bias = t.workspace[node.inputs[2]] if len(node.inputs) == 3 else np.zeros(out[3], np.float32)
    results = []
    for group, part in enumerate(parts):
        rows = slice(group * outputs, (group + 1) * outputs)
        result = t.between(node.output, (*out[:3], outputs))
        inputs = [part, t.constant(weights[rows]), t.constant(bias[rows])]
        t.emit(Builtin.CONV_2D, inputs, [result], options)
        results.append(result)
    t.emit(Builtin.CONCATENATION, results, [t.tensor(node.output)], ConcatenationOptions(axis=3))
    if t.precision in ("dynamic", "fp16"):
        t.float_weights.append(node.inputs[1])


@lower(DepthwiseConv2D)
def depthwise_conv2d(t: Lowering, node: Node, op: DepthwiseConv2D) -> None:
    """DEPTHWISE_CONV_2D. Runtimes have no dynamic-range kernel of it that they agree on: its weights stay float."""
    x, padding = padded_input(t, node, op)
    multiplier = t.spec(node.inputs[1]).shape[3] // t.spec(node.inputs[0]).shape[3]
    options = DepthwiseConv2DOptions(
        padding, op.stride[1], op.stride[0], multiplier, ACTIVATIONS[op.activation], op.dilation[1], op.dilation[0]
    )
    weight = t.weight(node.inputs[1], axis=3, dynamic=False)
    int8 = t.quantized(node.output)
    dilated = op.dilation != (1, 1) and not int8
    inputs, outputs = [x, weight, bias_of(t, node)], [t.tensor(node.output)]
    t.emit(Builtin.DEPTHWISE_CONV_2D, inputs, outputs, options, int8=int8, version=2 if dilated else None)


@lower(Linear)
def linear(t: Lowering, node: Node, op: Linear) -> None:
    """FULLY_CONNECTED with one scale for all weights, as every runtime takes it."""
    dynamic = t.precision == "dynamic"
    options = FullyConnectedOptions(ACTIVATIONS[op.activation], asymmetric_quantize_inputs=dynamic)
    inputs = [t.tensor(node.inputs[0]), t.weight(node.inputs[1], axis=None), bias_of(t, node)]
    int8 = t.quantized(node.output)
    version = DYNAMIC_LINEAR if dynamic else INT8_VERSIONS[Builtin.FULLY_CONNECTED] if int8 else 1
    t.emit(Builtin.FULLY_CONNECTED, inputs, [t.tensor(node.output)], options, version=version)


@lower(MatMul)
def matmul(t: Lowering, node: Node, op: MatMul) -> None:
    """BATCH_MATMUL."""
    t.simple(node, Builtin.BATCH_MATMUL, BatchMatMulOptions(op.transpose_a, op.transpose_b))
