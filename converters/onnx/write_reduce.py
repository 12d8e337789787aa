"""Reductions over axes."""

from __future__ import annotations

from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.converters.onnx.onnx_graph import Written
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum

AXES_AS_INPUT = {"ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18}
"""The opset from which an operator takes the axes as an input."""


@writes(ReduceSum, ReduceMean, ReduceMax)
def reduce(t: Writing, op: ReduceSum | ReduceMean | ReduceMax, node: Node) -> None:
    """ReduceSum, ReduceMean, ReduceMax over wherever the axes are."""
    if not op.axes:
        t.alias(node.output, node.inputs[0])
        return
    x = t.read(node.inputs[0])
    if x.layout.inner:
        x = t.read(node.inputs[0], plain(x.rank))
    y = t.declare(node.output, x.layout if op.keep_dims else _remaining(x, op.axes))
    name, axes = type(op).__name__, sorted(x.axis(held) for held in op.axes)
    keep = int(op.keep_dims)
    if t.opset >= AXES_AS_INPUT[name]:
        t.emit(name, [x, t.integers(axes)], y, keepdims=keep)
    else:
        t.emit(name, [x], y, axes=axes, keepdims=keep)


def _remaining(x: Written, axes: tuple[int, ...]) -> Layout:
    """The layout of what is left without some axes."""
    kept = [x.axis(held) for held in range(x.rank) if held not in axes]
    return Layout(tuple(sorted(kept).index(axis) for axis in kept))
