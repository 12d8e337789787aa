"""Constants, copies and the border of differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value


@dataclass(frozen=True)
class StopGradient(Op, name="stop_gradient"):
    """y = x, a constant for differentiation."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [None]


@dataclass(frozen=True)
class Identity(Op, name="identity"):
    """y = x, under another name."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [dy]


@dataclass(frozen=True)
class Full(Op, name="full"):
    """A constant of a shape, every element `value`."""

    shape: tuple[int, ...]
    value: float
    dtype: str = "float32"

    def infer(self) -> Spec:
        return Spec(self.shape, self.dtype)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return []


@dataclass(frozen=True)
class FullLike(Op, name="full_like"):
    """A constant of the shape and dtype of `like`, every element `value`."""

    value: float
    shape_only = frozenset({"like"})

    def infer(self, like: Spec) -> Spec:
        return like.with_shape(like.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [None]
