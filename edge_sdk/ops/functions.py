"""Functions of numbers beyond arithmetic: rounding, trigonometry, powers and remainders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.builder import Builder
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.control import FullLike
from edge_sdk.ops.elementwise import Div, Exp, Log, Mul, Neg, Sqrt, Square, Sub, broadcast, unbroadcast
from edge_sdk.spec import Spec, Value

Function = Literal[
    "floor", "ceil", "round", "sign", "erf",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "arcsinh", "arccosh", "arctanh",
]  # fmt: skip
"""NumPy's names; "round" takes halves to the even neighbour, "erf" is 2 / √π · ∫₀ˣ e^(-t²) dt."""


@dataclass(frozen=True)
class Apply(Op, name="apply"):
    """y = function(x), element by element."""

    function: Function
    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        (x,), y = node.inputs, node.output
        if self.function in ("floor", "ceil", "round", "sign"):
            return [None]
        if self.function == "cos":
            return [g.add(Neg(), g.add(Mul(), dy, g.add(Apply("sin"), x)))]
        factors: dict[str, Function] = {"sin": "cos", "sinh": "cosh", "cosh": "sinh"}
        if self.function in factors:
            return [g.add(Mul(), dy, g.add(Apply(factors[self.function]), x))]
        if self.function == "erf":
            bell = g.add(Exp(), g.add(Neg(), g.add(Square(), x)))
            return [g.add(Mul(), g.add(Mul(), dy, bell), g.add(FullLike(2 / math.sqrt(math.pi)), x))]
        if self.function == "tan":  # 1 + y²
            return [g.add(Sub(), dy, g.add(Neg(), g.add(Mul(), dy, g.add(Square(), y))))]
        return [g.add(Div(), dy, self._inverse_slope(g, x))]

    def _inverse_slope(self, g: Builder, x: Value) -> Value:
        """1 / y'(x) of the inverse functions."""
        one, square = g.add(FullLike(1.0), x), g.add(Square(), x)
        if self.function == "arctan":
            return g.add(Sub(), one, g.add(Neg(), square))
        if self.function == "arctanh":
            return g.add(Sub(), one, square)
        if self.function == "arcsinh":
            return g.add(Sqrt(), g.add(Sub(), square, g.add(Neg(), one)))
        if self.function == "arccosh":
            return g.add(Sqrt(), g.add(Sub(), square, one))
        root = g.add(Sqrt(), g.add(Sub(), one, square))
        return g.add(Neg(), root) if self.function == "arccos" else root


@dataclass(frozen=True)
class Power(Op, name="power"):
    """y = a^b. The gradient for b takes a > 0 for granted."""

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("power", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        below = g.add(Power(), a, g.add(Sub(), b, g.add(FullLike(1.0), b)))
        to_a = g.add(Mul(), dy, g.add(Mul(), below, b))
        to_b = g.add(Mul(), dy, g.add(Mul(), node.output, g.add(Log(), a)))
        return [unbroadcast(g, to_a, a), unbroadcast(g, to_b, b)]


@dataclass(frozen=True)
class Remainder(Op, name="remainder"):
    """What is left of a divided by b, with the sign of the divisor b, or with `truncated` of a, as C's fmod."""

    truncated: bool = False

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("remainder", a, b)
