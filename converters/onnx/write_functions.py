"""Functions of numbers beyond arithmetic."""

from __future__ import annotations

from edge_sdk.converters.onnx.alignment import aligned
from edge_sdk.converters.onnx.write_activation import same_layout
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.functions import Apply, Power, Remainder
from edge_sdk.spec import FLOATS

_INVERSE = {
    "arcsin": "Asin",
    "arccos": "Acos",
    "arctan": "Atan",
    "arcsinh": "Asinh",
    "arccosh": "Acosh",
    "arctanh": "Atanh",
}


@writes(Apply)
def apply(t: Writing, op: Apply, node: Node) -> None:
    """Floor, Ceil, Round, Sign, Erf, Sin and its relatives."""
    x, y = same_layout(t, node)
    t.emit(_INVERSE.get(op.function, op.function.capitalize()), [x], y)


@writes(Power)
def power(t: Writing, op: Power, node: Node) -> None:
    """Pow."""
    operands, layout = aligned(t, node.inputs)
    t.emit("Pow", operands, t.declare(node.output, layout))


@writes(Remainder)
def remainder(t: Writing, op: Remainder, node: Node) -> None:
    """Mod; of floats with the sign of the divisor, which Mod lacks, a - floor(a / b) · b."""
    (a, b), layout = aligned(t, node.inputs)
    y = t.declare(node.output, layout)
    if op.truncated or y.spec.dtype not in FLOATS:
        t.emit("Mod", [a, b], y, fmod=int(op.truncated))
        return
    ratio, whole, multiple = (t.before(y, name) for name in ("ratio", "whole", "multiple"))
    t.emit("Div", [a, b], ratio)
    t.emit("Floor", [ratio], whole)
    t.emit("Mul", [whole, b], multiple)
    t.emit("Sub", [a, multiple], y)
