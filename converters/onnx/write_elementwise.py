"""Arithmetic element by element."""

from __future__ import annotations

from edge_sdk.converters.onnx.alignment import aligned
from edge_sdk.converters.onnx.write_activation import activated, clipped, same_layout
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.elementwise import (
    Abs,
    Add,
    Clip,
    Div,
    Exp,
    Log,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Sqrt,
    Square,
    Sub,
)

_BINARY: dict[type[Op], str] = {Sub: "Sub", Mul: "Mul", Div: "Div", Maximum: "Max", Minimum: "Min"}
_UNARY: dict[type[Op], str] = {Neg: "Neg", Exp: "Exp", Log: "Log", Sqrt: "Sqrt", Abs: "Abs"}


@writes(Add)
def add(t: Writing, op: Add, node: Node) -> None:
    """Add; Relu or Clip."""
    operands, layout = aligned(t, node.inputs)
    y = t.declare(node.output, layout)
    total = y if op.activation is None else t.before(y, "sum")
    t.emit("Add", operands, total)
    activated(t, op.activation, total, y)


@writes(Sub, Mul, Div, Maximum, Minimum)
def binary(t: Writing, op: Op, node: Node) -> None:
    """Sub, Mul, Div, Max, Min."""
    operands, layout = aligned(t, node.inputs)
    t.emit(_BINARY[type(op)], operands, t.declare(node.output, layout))


@writes(Neg, Exp, Log, Sqrt, Abs)
def unary(t: Writing, op: Op, node: Node) -> None:
    """Neg, Exp, Log, Sqrt, Abs."""
    x, y = same_layout(t, node)
    t.emit(_UNARY[type(op)], [x], y)


@writes(Square)
def square(t: Writing, op: Square, node: Node) -> None:
    """Mul of x and x."""
    x, y = same_layout(t, node)
    t.emit("Mul", [x, x], y)


@writes(Clip)
def clip(t: Writing, op: Clip, node: Node) -> None:
    """Clip."""
    x, y = same_layout(t, node)
    clipped(t, x, y, op.low, op.high)
