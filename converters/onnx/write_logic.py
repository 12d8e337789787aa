"""Comparing, choosing, and arithmetic on truth values and bits."""

from __future__ import annotations

from edge_sdk.converters.onnx.alignment import aligned
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.logic import Bitwise, Compare, Where

_RELATIONS = {
    "equal": "Equal", "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
}  # fmt: skip


@writes(Compare)
def compare(t: Writing, op: Compare, node: Node) -> None:
    """Less, Equal and the others."""
    operands, layout = aligned(t, node.inputs)
    y = t.declare(node.output, layout)
    if op.relation == "not_equal":
        equal = t.before(y, "equal")
        t.emit("Equal", operands, equal)
        t.emit("Not", [equal], y)
    else:
        t.emit(_RELATIONS[op.relation], operands, y)


@writes(Bitwise)
def bitwise(t: Writing, op: Bitwise, node: Node) -> None:
    """And, Or, Xor of truth values; BitwiseAnd and the others of whole numbers; BitShift of those without a sign."""
    operands, layout = aligned(t, node.inputs)
    y = t.declare(node.output, layout)
    if op.function in ("shift_left", "shift_right"):
        if not y.spec.dtype.startswith("u"):
            raise t.no_form(node, f"of {y.spec.dtype}: BitShift moves numbers without a sign alone")
        t.emit("BitShift", operands, y, direction=op.function.removeprefix("shift_").upper())
    else:
        name = op.function.capitalize()
        t.emit(name if y.spec.dtype == "bool" else f"Bitwise{name}", operands, y)


@writes(Where)
def where(t: Writing, op: Where, node: Node) -> None:
    """Where."""
    operands, layout = aligned(t, node.inputs)
    t.emit("Where", operands, t.declare(node.output, layout))
