"""Rounding to the numbers that stored integers can mean, with gradients, so that networks learn to live with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.spec import FLOATS, Spec, Value, alike


def _check(name: str, axis: int | None, x: Spec, scale: Spec, zero_point: Spec) -> None:
    if axis is not None and not 0 <= axis < x.rank:
        raise ShapeError(f"{name}: x is {x}, which has no axis {axis}")
    wanted = () if axis is None else (x.shape[axis],)
    if x.dtype not in FLOATS or scale != Spec(wanted, x.dtype) or zero_point.shape != wanted:
        raise ShapeError(
            f"{name}: x is {x}, scale {scale}, zero_point {zero_point}; wanted floating-point numbers of one type, and "
            f"scales and zero points of shape {list(wanted)}"
        )
    if zero_point.dtype != "int32":
        raise ShapeError(f"{name}: zero_point is {zero_point}, wanted int32")


@dataclass(frozen=True)
class FakeQuantize(Op, name="fake_quantize"):
    """y = scale · (clip(round(x / scale) + zero_point, low, high) - zero_point), halves to even.

    Scale and zero point (int32) are one number () for all of x, or one per index of `axis`. The gradient passes
    straight through the rounding where the stored number lies within [low, high], and is 0 outside (Jacob et al. 2018,
    arXiv:1712.05877). With `learned` the scale has one too, that of learned step sizes (Esser et al. 2020,
    arXiv:1902.08153): Σ dy · (round(x / scale) - x / scale) inside and Σ dy · (limit - zero_point) outside, times
    `slope`, which that paper sets to 1 / √(numbers of one example · high).
    """

    low: int = -128
    high: int = 127
    axis: int | None = None
    learned: bool = False
    slope: float = 1.0
    in_place = {0: 0}

    def infer(self, x: Spec, scale: Spec, zero_point: Spec) -> Spec:
        if self.low >= self.high:
            raise ShapeError(f"fake_quantize: low is {self.low} and high {self.high}; wanted low < high")
        _check("fake_quantize", self.axis, x, scale, zero_point)
        return x.with_shape(x.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        if not self.learned:
            return [g.add(FakeQuantizeGrad(self.low, self.high, self.axis), dy, *node.inputs), None, None]
        op = FakeQuantizeLearnedGrad(self.low, self.high, self.axis, self.slope)
        dx, dscale = g.add_multi(op, dy, *node.inputs)
        return [dx, dscale, None]


@dataclass(frozen=True)
class FakeQuantizeGrad(Op, name="fake_quantize_grad"):
    """dx of fake_quantize: dy where round(x / scale) + zero_point lies within [low, high], else 0."""

    low: int = -128
    high: int = 127
    axis: int | None = None
    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec, scale: Spec, zero_point: Spec) -> Spec:
        _check("fake_quantize_grad", self.axis, x, scale, zero_point)
        return alike("fake_quantize_grad", dy=dy, x=x)


@dataclass(frozen=True)
class FakeQuantizeLearnedGrad(Op, name="fake_quantize_learned_grad"):
    """dx and dscale of fake_quantize with a learned scale."""

    low: int = -128
    high: int = 127
    axis: int | None = None
    slope: float = 1.0
    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec, scale: Spec, zero_point: Spec) -> tuple[Spec, Spec]:
        _check("fake_quantize_learned_grad", self.axis, x, scale, zero_point)
        return alike("fake_quantize_learned_grad", dy=dy, x=x), scale


@dataclass(frozen=True)
class SymmetricScale(Op, name="symmetric_scale"):
    """The scale with which the largest |x| is stored as `high`: max |x| / high, for all of x or per index of `axis`.

    Where every x is 0 it is 1 / high. It is taken as given by the weights at every step, and has no gradient
    (Krishnamoorthi 2018, arXiv:1806.08342).
    """

    high: int = 127
    axis: int | None = None

    def infer(self, x: Spec) -> Spec:
        if x.dtype not in FLOATS or x.symbolic:
            raise ShapeError(f"symmetric_scale: x is {x}, wanted floating-point numbers of known shape")
        if self.axis is not None and not 0 <= self.axis < x.rank:
            raise ShapeError(f"symmetric_scale: x is {x}, which has no axis {self.axis}")
        if self.high < 1:
            raise ShapeError(f"symmetric_scale: high is {self.high}, wanted at least 1")
        return Spec(() if self.axis is None else (x.shape[self.axis],), x.dtype)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [None]
