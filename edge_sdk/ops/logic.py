"""Comparing, choosing, and arithmetic on truth values and bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.control import FullLike
from edge_sdk.ops.elementwise import broadcast, unbroadcast
from edge_sdk.spec import FLOATS, Spec, Value

Relation = Literal["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
BitFunction = Literal["and", "or", "xor", "shift_left", "shift_right"]


@dataclass(frozen=True)
class Compare(Op, name="compare"):
    """Whether a stands in `relation` to b, as bool; no relation but "not_equal" holds for a NaN."""

    relation: Relation

    def infer(self, a: Spec, b: Spec) -> Spec:
        return Spec(broadcast("compare", a, b).shape, "bool")


@dataclass(frozen=True)
class Bitwise(Op, name="bitwise"):
    """The bits of a and b combined: truth values, or each bit of whole numbers; shifts move a by b places."""

    function: BitFunction

    def infer(self, a: Spec, b: Spec) -> Spec:
        if a.dtype in FLOATS or (a.dtype == "bool" and self.function.startswith("shift")):
            raise ShapeError(f"bitwise: a is {a}; wanted whole numbers, or truth values that are not shifted")
        return broadcast("bitwise", a, b)


@dataclass(frozen=True)
class Where(Op, name="where"):
    """a where the condition holds, else b; all three are broadcast."""

    def infer(self, condition: Spec, a: Spec, b: Spec) -> Spec:
        if condition.dtype != "bool":
            raise ShapeError(f"where: condition is {condition}, wanted truth values")
        chosen = broadcast("where", a, b)
        return broadcast("where", chosen, Spec(condition.shape, chosen.dtype))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        condition, a, b = node.inputs
        zero = g.add(FullLike(0.0), dy)
        to_a, to_b = g.add(Where(), condition, dy, zero), g.add(Where(), condition, zero, dy)
        return [None, unbroadcast(g, to_a, a), unbroadcast(g, to_b, b)]
