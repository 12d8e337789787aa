"""Normalizations in their inference form."""

from __future__ import annotations

from edge_sdk.converters.onnx.layout import channels_last
from edge_sdk.converters.onnx.write_activation import activated
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.norm import BatchNorm, LocalResponseNorm


@writes(BatchNorm)
def batch_norm(t: Writing, op: BatchNorm, node: Node) -> None:
    """BatchNormalization; Relu or Clip."""
    layout = channels_last(t.spec(node.inputs[0]).rank)
    x, parameters = t.read(node.inputs[0], layout), [t.read(value) for value in node.inputs[1:]]
    y = t.declare(node.output, layout)
    result = y if op.activation is None else t.before(y, "normalised")
    t.emit("BatchNormalization", [x, *parameters], result, epsilon=op.epsilon)
    activated(t, op.activation, result, y)


@writes(LocalResponseNorm)
def local_response_norm(t: Writing, op: LocalResponseNorm, node: Node) -> None:
    """LRN, which divides alpha by the size too."""
    x, y = t.image(node.inputs[0]), t.declare_image(node.output)
    t.emit("LRN", [x], y, size=op.size, alpha=op.alpha, beta=op.beta, bias=op.k)
