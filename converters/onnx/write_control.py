"""Constants, copies, and the borders of quantization."""

from __future__ import annotations

from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.control import Full, FullLike, Identity, StopGradient
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.random import Dropout
from edge_sdk.spec import QuantParams, Spec


@writes(Identity, StopGradient)
def identity(t: Writing, op: Op, node: Node) -> None:
    """Nothing: the value is its input."""
    t.alias(node.output, node.inputs[0])


@writes(Dropout)
def dropout(t: Writing, op: Dropout, node: Node) -> None:
    """Nothing, in its inference form."""
    if len(node.inputs) > 1:
        raise t.no_form(node, "with a step, its training form; run the pass to_inference first")
    t.alias(node.output, node.inputs[0])


@writes(Full)
def full(t: Writing, op: Full, node: Node) -> None:
    """ConstantOfShape."""
    y = t.declare(node.output, plain(len(op.shape)))
    t.emit("ConstantOfShape", [t.integers(op.shape)], y, value=t.stored_number(op.value, y))


@writes(FullLike)
def full_like(t: Writing, op: FullLike, node: Node) -> None:
    """Shape and ConstantOfShape."""
    like = t.read(node.inputs[0])
    y = t.declare(node.output, like.layout)
    shape = t.temporary(f"{y.name}/shape", plain(1), Spec((like.rank,), "int64"))
    t.emit("Shape", [like], shape)
    t.emit("ConstantOfShape", [shape], y, value=t.stored_number(op.value, y))


@writes(Quantize)
def quantize(t: Writing, op: Quantize, node: Node) -> None:
    """QuantizeLinear, of floats or of what another quantization stands for; halves go to the even number."""
    t.quantize(node.output, t.read(node.inputs[0]))


@writes(Dequantize)
def dequantize(t: Writing, op: Dequantize, node: Node) -> None:
    """DequantizeLinear, whose numbers are those of the input's quantization."""
    spec = t.spec(node.inputs[0])
    if spec.quant is not None and spec.quant != QuantParams((op.scale,), (op.zero_point,)):
        raise t.no_form(node, f"whose input is quantized by {spec.quant}")
    t.alias_real(node.output, node.inputs[0])
