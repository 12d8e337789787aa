"""Arithmetic element by element, with NumPy's broadcasting for operators of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import before_activation
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Spec, Value, alike


def broadcast(name: str, a: Spec, b: Spec) -> Spec:
    """Return the spec of a and b broadcast against each other; raises ShapeError when they cannot be."""
    if a.dtype != b.dtype:
        raise ShapeError(f"{name}: a is {a}, b is {b}; cast one of them")
    rank = max(a.rank, b.rank)
    left, right = (1,) * (rank - a.rank) + a.shape, (1,) * (rank - b.rank) + b.shape
    if any(m != n and 1 not in (m, n) for m, n in zip(left, right, strict=True)):
        raise ShapeError(f"{name}: a {a} and b {b} cannot be broadcast")
    # The symbolic batch wins against 1.
    return a.with_shape(tuple(n if m == 1 else m for m, n in zip(left, right, strict=True)))


def unbroadcast(g: Builder, gradient: Value, like: Value) -> Value:
    """Sum a gradient over what was broadcast, back to the shape of `like`."""
    return gradient if g.spec(gradient).shape == g.spec(like).shape else g.add(SumLike(), gradient, like)


@dataclass(frozen=True)
class Add(Op, name="add"):
    """y = a + b, then the activation."""

    activation: Activation = None
    in_place = {0: 0}

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("add", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        dy = before_activation(g, self.activation, node.output, dy)
        return [unbroadcast(g, dy, a), unbroadcast(g, dy, b)]


@dataclass(frozen=True)
class Sub(Op, name="sub"):
    """y = a - b."""

    in_place = {0: 0}

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("sub", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        return [unbroadcast(g, dy, a), unbroadcast(g, g.add(Neg(), dy), b)]


@dataclass(frozen=True)
class Mul(Op, name="mul"):
    """y = a · b."""

    in_place = {0: 0}

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("mul", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        return [unbroadcast(g, g.add(Mul(), dy, b), a), unbroadcast(g, g.add(Mul(), dy, a), b)]


@dataclass(frozen=True)
class Div(Op, name="div"):
    """y = a / b."""

    in_place = {0: 0}

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("div", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        da = g.add(Div(), dy, b)
        db = g.add(Neg(), g.add(Mul(), da, node.output))  # d(a / b)/db = -(a / b) / b
        return [unbroadcast(g, da, a), unbroadcast(g, db, b)]


@dataclass(frozen=True)
class Maximum(Op, name="maximum"):
    """y = max(a, b). Where they are equal the gradient goes to a."""

    in_place = {0: 0}

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("maximum", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        to_a = g.add(ChosenGrad(), dy, a, node.output)
        return [unbroadcast(g, to_a, a), unbroadcast(g, g.add(Sub(), dy, to_a), b)]


@dataclass(frozen=True)
class Minimum(Op, name="minimum"):
    """y = min(a, b). Where they are equal the gradient goes to a."""

    in_place = {0: 0}

    def infer(self, a: Spec, b: Spec) -> Spec:
        return broadcast("minimum", a, b)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        to_a = g.add(ChosenGrad(), dy, a, node.output)
        return [unbroadcast(g, to_a, a), unbroadcast(g, g.add(Sub(), dy, to_a), b)]


@dataclass(frozen=True)
class ChosenGrad(Op, name="chosen_grad"):
    """dy where a (broadcast) is the y that was chosen, else 0: the gradient of maximum and minimum for a."""

    def infer(self, dy: Spec, a: Spec, y: Spec) -> Spec:
        if broadcast("chosen_grad", y, a).shape != y.shape:
            raise ShapeError(f"chosen_grad: a {a} cannot be broadcast to y {y}")
        return alike("chosen_grad", dy=dy, y=y)


@dataclass(frozen=True)
class Neg(Op, name="neg"):
    """y = -x."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(Neg(), dy)]


@dataclass(frozen=True)
class Exp(Op, name="exp"):
    """y = eˣ."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(Mul(), dy, node.output)]


@dataclass(frozen=True)
class Log(Op, name="log"):
    """y = ln x."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(Div(), dy, node.inputs[0])]


@dataclass(frozen=True)
class Sqrt(Op, name="sqrt"):
    """y = √x."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(Div(), dy, g.add(Add(), node.output, node.output))]


@dataclass(frozen=True)
class Square(Op, name="square"):
    """y = x²."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        (x,) = node.inputs
        return [g.add(Mul(), dy, g.add(Add(), x, x))]


@dataclass(frozen=True)
class Abs(Op, name="abs"):
    """y = |x|; the gradient at 0 is 0."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(AbsGrad(), dy, node.inputs[0])]


@dataclass(frozen=True)
class AbsGrad(Op, name="abs_grad"):
    """dx = dy · sign(x)."""

    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class Clip(Op, name="clip"):
    """y = min(max(x, low), high)."""

    low: float
    high: float
    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        if self.low > self.high:
            raise ShapeError(f"clip: low {self.low} is above high {self.high}")
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ClipGrad(self.low, self.high), dy, node.inputs[0])]


@dataclass(frozen=True)
class ClipGrad(Op, name="clip_grad"):
    """dx = dy where low ≤ x ≤ high, else 0."""

    low: float
    high: float
    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class SumLike(Op, name="sum_like"):
    """Sum x over the axes along which `like` was broadcast to x's shape: the gradient of broadcasting."""

    shape_only = frozenset({"like"})

    def infer(self, x: Spec, like: Spec) -> Spec:
        if broadcast("sum_like", x, Spec(like.shape, x.dtype)).shape != x.shape:
            raise ShapeError(f"sum_like: like {like} cannot be broadcast to x {x}")
        return x.with_shape(like.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        from edge_sdk.ops.reduce import BroadcastLike

        return [g.add(BroadcastLike(), dy, node.inputs[0]), None]
