"""Dense layers and matrix products."""

from __future__ import annotations

from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.converters.onnx.write_activation import activated
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.linear import Linear, MatMul


@writes(Linear)
def linear(t: Writing, op: Linear, node: Node) -> None:
    """Gemm; Relu or Clip. Weights meet a flattened image in the order of its columns."""
    x = t.read(node.inputs[0])
    if x.layout.inner and not t.is_constant(node.inputs[1]):
        x = t.read(node.inputs[0], plain(2))
    weight = t.weight(node.inputs[1], x.layout if x.layout.inner else plain(2), axis=0)
    bias = [t.read(node.inputs[2])] if len(node.inputs) > 2 else []
    y = t.declare(node.output, plain(2))
    result = y if op.activation is None else t.before(y, "product")
    t.emit("Gemm", [x, weight, *bias], result, transB=1)
    activated(t, op.activation, result, y)


@writes(MatMul)
def matmul(t: Writing, op: MatMul, node: Node) -> None:
    """MatMul."""
    rank = t.spec(node.output).rank
    swapped = Layout((*range(rank - 2), rank - 1, rank - 2))
    factors = [
        t.read(value, swapped if transposed else plain(rank))
        for value, transposed in zip(node.inputs, (op.transpose_a, op.transpose_b), strict=True)
    ]
    t.emit("MatMul", factors, t.declare(node.output, plain(rank)))
