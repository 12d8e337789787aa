"""Selecting by index."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.write_activation import clipped
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.indexing import Gather, OneHot
from edge_sdk.spec import Spec


@writes(Gather)
def gather(t: Writing, op: Gather, node: Node) -> None:
    """Gather, by indices that Clip keeps inside: ONNX counts negative ones from the end and refuses others."""
    x, indices = (t.read(value, plain(t.spec(value).rank)) for value in node.inputs)
    y = t.declare(node.output, plain(t.spec(node.output).rank))
    inside = t.temporary(f"{y.name}/indices", indices.layout, indices.spec)
    clipped(t, indices, inside, 0, x.spec.shape[op.axis] - 1)
    t.emit("Gather", [x, inside], y, axis=op.axis)


@writes(OneHot)
def one_hot(t: Writing, op: OneHot, node: Node) -> None:
    """Equal to each of the numbers below the depth: ONNX's OneHot counts negative indices from the end."""
    value = node.inputs[0]
    indices = t.read(value, plain(t.spec(value).rank))
    y = t.declare(node.output, plain(indices.rank + 1))
    column = t.temporary(f"{y.name}/column", y.layout, indices.spec.with_shape((*indices.spec.shape, 1)))
    hit = t.temporary(f"{y.name}/hit", y.layout, Spec(y.spec.shape, "bool"))
    t.reshape(indices, column)
    t.emit("Equal", [column, t.numbers(np.arange(op.depth, dtype=indices.spec.numpy_dtype))], hit)
    t.emit("Cast", [hit], y, to=t.dtype_code(y.spec.dtype))
