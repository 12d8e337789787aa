"""Dense layers and matrix products."""

from __future__ import annotations

from edge_sdk.converters.tflite.lower_conv import zero_bias
from edge_sdk.converters.tflite.lowering import FUSED, Lowering, lower
from edge_sdk.converters.tflite.options import BatchMatMulOptions, FullyConnectedOptions
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.graph import Node
from edge_sdk.ops.linear import Linear, MatMul

SCALE_AN_OUTPUT = 12
"""The version of FULLY_CONNECTED that takes float inputs and int8 weights with a scale for each output."""


@lower(Linear)
def linear(t: Lowering, op: Linear, node: Node) -> None:
    """FULLY_CONNECTED. With int8 weights and float inputs these are quantized at run time, asymmetrically.

    Such weights have one scale for all outputs, unless the file is for runtimes that know one for each.
    """
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    axis = 0 if t.may_use(Builtin.FULLY_CONNECTED, SCALE_AN_OUTPUT) else None
    weight = t.weight(node.inputs[1], t.array(node.inputs[1]), t.spec(node.inputs[1]).quant, axis)
    bias = t.read(node.inputs[2]) if len(node.inputs) > 2 else zero_bias(t, x, weight, y.spec.shape[1])
    hybrid = weight.spec.dtype == "int8" and x.spec.dtype == "float32"
    options = FullyConnectedOptions(FUSED[op.activation], asymmetric_quantize_inputs=hybrid)
    t.emit(Builtin.FULLY_CONNECTED, [x, weight, bias], [y], options)


@lower(MatMul)
def matmul(t: Lowering, op: MatMul, node: Node) -> None:
    """BATCH_MATMUL."""
    inputs = [t.read(value) for value in node.inputs]
    t.emit(Builtin.BATCH_MATMUL, inputs, [t.declare(node.output)], BatchMatMulOptions(op.transpose_a, op.transpose_b))
