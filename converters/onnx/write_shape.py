"""Operators that move elements. Transposes only rename axes; what must move them is written where it is read."""

from __future__ import annotations

from edge_sdk.converters.onnx.alignment import aligned, reshaped
from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.converters.onnx.onnx_graph import Written
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.shape import (
    BroadcastTo,
    Cast,
    Concat,
    ExpandDims,
    Flatten,
    Pad,
    Reshape,
    Slice,
    Split,
    Squeeze,
    Transpose,
)
from edge_sdk.spec import Value

LAST = (1 << 63) - 1
"""The end of an axis of any size."""


@writes(Pad)
def pad(t: Writing, op: Pad, node: Node) -> None:
    """Pad with a number."""
    x = _unflattened(t, node.inputs[0])
    y = t.declare(node.output, x.layout)
    pairs = [op.paddings[held] for held in x.layout.inverse]
    amounts = t.integers([before for before, _ in pairs] + [after for _, after in pairs])
    t.emit("Pad", [x, amounts, t.number(op.value, x)], y, mode="constant")


@writes(Concat)
def concat(t: Writing, op: Concat, node: Node) -> None:
    """Concat."""
    parts, layout = aligned(t, node.inputs)
    if layout.inner:
        layout = plain(layout.rank)
        parts = [t.read(value, layout) for value in node.inputs]
    t.emit("Concat", parts, t.declare(node.output, layout), axis=layout.order[op.axis])


@writes(Split)
def split(t: Writing, op: Split, node: Node) -> None:
    """Split."""
    x = _unflattened(t, node.inputs[0])
    parts = [t.declare(value, x.layout) for value in node.outputs]
    t.emit("Split", [x, t.integers(op.sizes)], parts, axis=x.axis(op.axis))


@writes(Slice)
def slice_(t: Writing, op: Slice, node: Node) -> None:
    """Slice of the axes that are not kept whole."""
    x = _unflattened(t, node.inputs[0])
    y = t.declare(node.output, x.layout)
    cut = [held for held in range(x.rank) if (op.begin[held], op.size[held]) != (0, -1)]
    ends = [LAST if op.size[held] < 0 else op.begin[held] + op.size[held] for held in cut]
    if not cut:
        t.emit("Identity", [x], y)
        return
    bounds = ([op.begin[held] for held in cut], ends, [x.axis(held) for held in cut])
    t.emit("Slice", [x, *map(t.integers, bounds)], y)


@writes(Reshape, Flatten, Squeeze, ExpandDims)
def reshape(t: Writing, op: Op, node: Node) -> None:
    """Reshape; of an image to a row only its columns' order is noted."""
    reshaped(t, node.inputs[0], node.output)


@writes(Transpose)
def transpose(t: Writing, op: Transpose, node: Node) -> None:
    """Nothing moves: the same tensor is held with its axes in another order."""
    x = _unflattened(t, node.inputs[0])
    layout = Layout(tuple(x.layout.order[axis] for axis in op.permutation))
    t.rename(node.output, x, layout)


@writes(BroadcastTo)
def broadcast_to(t: Writing, op: BroadcastTo, node: Node) -> None:
    """Expand; a size of 1 keeps the open batch."""
    x = t.read(node.inputs[0], plain(t.spec(node.inputs[0]).rank))
    y = t.declare(node.output, plain(t.spec(node.output).rank))
    t.emit("Expand", [x, t.integers([abs(size) for size in y.shape])], y)


@writes(Cast)
def cast(t: Writing, op: Cast, node: Node) -> None:
    """Cast."""
    x = t.read(node.inputs[0])
    y = t.declare(node.output, x.layout)
    t.emit("Cast", [x], y, to=t.dtype_code(y.spec.dtype))


def _unflattened(t: Writing, value: Value) -> Written:
    """A tensor whose axes are the engine's: a flattened image in the engine's order of columns."""
    x = t.read(value)
    return t.read(value, plain(x.rank)) if x.layout.inner else x
