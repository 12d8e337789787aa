"""Selecting by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value


@dataclass(frozen=True)
class Gather(Op, name="gather"):
    """y[…, i…, …] = x[…, indices[i…], …] along `axis`; an index out of range is clamped to the nearest element."""

    axis: int = 0

    def infer(self, x: Spec, indices: Spec) -> Spec:
        if not 0 <= self.axis < x.rank or x.shape[self.axis] == 0 or indices.dtype not in ("int32", "int64"):
            raise ShapeError(f"gather: axis {self.axis} of x {x} by indices {indices}; wanted whole numbers")
        if self.axis and indices.symbolic:
            raise ShapeError(f"gather: indices {indices} with an open batch need axis 0")
        return x.with_shape((*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        x, indices = node.inputs
        return [g.add(GatherGrad(self.axis), dy, indices, x), None]


@dataclass(frozen=True)
class GatherGrad(Op, name="gather_grad"):
    """dx of gather: dy added up at the indices it was taken from, in index order."""

    axis: int
    shape_only = frozenset({"like"})

    def infer(self, dy: Spec, indices: Spec, like: Spec) -> Spec:
        y = Gather(self.axis).infer(like, indices)
        if dy.shape != y.shape:
            raise ShapeError(f"gather_grad: dy is {dy}, wanted {y} for indices {indices} of {like}")
        return dy.with_shape(like.shape)


@dataclass(frozen=True)
class OneHot(Op, name="one_hot"):
    """float32 (…, depth): 1 at the index, 0 elsewhere; all 0 for an index out of range."""

    depth: int

    def infer(self, indices: Spec) -> Spec:
        if indices.dtype not in ("int32", "int64") or self.depth < 1:
            raise ShapeError(f"one_hot: indices {indices} with depth {self.depth}; wanted whole numbers and 1 or more")
        return Spec((*indices.shape, self.depth), "float32")

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [None]
