"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value, alike


def reduced(name: str, x: Spec, axes: tuple[int, ...], *, keep_dims: bool) -> Spec:
    """Return the spec of x reduced over `axes`, counted from 0."""
    if len(set(axes)) != len(axes) or not all(0 <= axis < x.rank for axis in axes):
        raise ShapeError(f"{name}: axes {axes} of x {x}; wanted different ones from 0 to {x.rank - 1}")
    if keep_dims:
        return x.with_shape(tuple(1 if axis in axes else size for axis, size in enumerate(x.shape)))
    return x.with_shape(tuple(size for axis, size in enumerate(x.shape) if axis not in axes))


def _spread(g: Builder, dy: Value, x: Value, axes: tuple[int, ...], *, keep_dims: bool) -> Value:
    """Bring dy to the shape of x: put the reduced axes back and broadcast."""
    from edge_sdk.ops.shape import ExpandDims

    if not keep_dims and axes:
        dy = g.add(ExpandDims(axes=tuple(sorted(axes))), dy)
    return g.add(BroadcastLike(), dy, x)


@dataclass(frozen=True)
class ReduceSum(Op, name="reduce_sum"):
    """Sum of x over `axes`; with `keep_dims` they stay as size 1."""

    axes: tuple[int, ...]
    keep_dims: bool = False

    def infer(self, x: Spec) -> Spec:
        return reduced("reduce_sum", x, self.axes, keep_dims=self.keep_dims)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [_spread(g, dy, node.inputs[0], self.axes, keep_dims=self.keep_dims)]


@dataclass(frozen=True)
class ReduceMean(Op, name="reduce_mean"):
    """Mean of x over `axes`; with `keep_dims` they stay as size 1.

    That of whole numbers is rounded towards 0, and 0 where there are none.
    """

    axes: tuple[int, ...]
    keep_dims: bool = False

    def infer(self, x: Spec) -> Spec:
        return reduced("reduce_mean", x, self.axes, keep_dims=self.keep_dims)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        (x,) = node.inputs
        return [_spread(g, g.add(MeanScaleGrad(self.axes), dy, x), x, self.axes, keep_dims=self.keep_dims)]


@dataclass(frozen=True)
class MeanScaleGrad(Op, name="mean_scale_grad"):
    """dy divided by how many elements of `like` were averaged over `axes`; the batch may be one of them."""

    axes: tuple[int, ...]
    shape_only = frozenset({"like"})
    in_place = {0: 0}

    def infer(self, dy: Spec, like: Spec) -> Spec:
        reduced("mean_scale_grad", like, self.axes, keep_dims=True)
        return dy


@dataclass(frozen=True)
class ReduceMax(Op, name="reduce_max"):
    """Largest element of x over `axes`. The gradient is shared equally by equal maxima."""

    axes: tuple[int, ...]
    keep_dims: bool = False

    def infer(self, x: Spec) -> Spec:
        if any(x.shape[axis] == 0 for axis in self.axes if 0 <= axis < x.rank):
            raise ShapeError(f"reduce_max: x {x} has no elements along {self.axes}")
        return reduced("reduce_max", x, self.axes, keep_dims=self.keep_dims)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ReduceMaxGrad(self.axes), dy, node.inputs[0], node.output)]


@dataclass(frozen=True)
class ReduceMaxGrad(Op, name="reduce_max_grad"):
    """dx of reduce_max from dy and y (kept dimensions or not) and x."""

    axes: tuple[int, ...]

    def infer(self, dy: Spec, x: Spec, y: Spec) -> Spec:
        shapes = [reduced("reduce_max_grad", x, self.axes, keep_dims=kept).shape for kept in (True, False)]
        if alike("reduce_max_grad", dy=dy, y=y).shape not in shapes or y.dtype != x.dtype:
            raise ShapeError(f"reduce_max_grad: x is {x}, y {y}; wanted x reduced over {self.axes}")
        return x


@dataclass(frozen=True)
class BroadcastLike(Op, name="broadcast_like"):
    """x broadcast to the shape of `like`: the gradient of a sum."""

    shape_only = frozenset({"like"})

    def infer(self, x: Spec, like: Spec) -> Spec:
        aligned = (1,) * (like.rank - x.rank) + x.shape
        if x.rank > like.rank or any(m not in (1, n) for m, n in zip(aligned, like.shape, strict=True)):
            raise ShapeError(f"broadcast_like: x {x} cannot be broadcast to {like}")
        return x.with_shape(like.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        from edge_sdk.ops.elementwise import SumLike

        return [g.add(SumLike(), dy, node.inputs[0]), None]
