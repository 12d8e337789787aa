"""Activation functions, element by element, and softmax along the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Spec, Value, alike, check_floats


def before_activation(g: Builder, activation: Activation, y: Value, dy: Value) -> Value:
    """Return the gradient before a fused activation, from its result y."""
    return dy if activation is None else g.add(ActivationGrad(activation), dy, y)


@dataclass(frozen=True)
class ActivationGrad(Op, name="activation_grad"):
    """dx of relu (dy where y > 0) or relu6 (dy where 0 < y < 6), from the result y."""

    activation: Literal["relu", "relu6"]
    in_place = {0: 0}

    def infer(self, dy: Spec, y: Spec) -> Spec:
        return alike(self.name, dy=dy, y=y)


@dataclass(frozen=True)
class Relu(Op, name="relu"):
    """y = max(x, 0) (Nair and Hinton 2010)."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ActivationGrad("relu"), dy, node.output)]


@dataclass(frozen=True)
class Relu6(Op, name="relu6"):
    """y = min(max(x, 0), 6)."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ActivationGrad("relu6"), dy, node.output)]


@dataclass(frozen=True)
class LeakyRelu(Op, name="leaky_relu"):
    """y = x where x > 0, else slope · x."""

    slope: float = 0.01
    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(LeakyReluGrad(self.slope), dy, node.inputs[0])]


@dataclass(frozen=True)
class LeakyReluGrad(Op, name="leaky_relu_grad"):
    """dx = dy where x > 0, else slope · dy."""

    slope: float
    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class PRelu(Op, name="prelu"):
    """y = x where x > 0, else slope · x, with one learned slope per channel (c) of x (…, c) (He et al. 2015)."""

    in_place = {0: 0}

    def infer(self, x: Spec, slope: Spec) -> Spec:
        _check_slope("prelu", x, slope)
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return list(g.add_multi(PReluGrad(), dy, *node.inputs))


@dataclass(frozen=True)
class PReluGrad(Op, name="prelu_grad"):
    """dx and dslope (c) of prelu: dslope sums dy · x over the elements where x ≤ 0."""

    def infer(self, dy: Spec, x: Spec, slope: Spec) -> tuple[Spec, Spec]:
        _check_slope("prelu_grad", x, slope)
        return alike("prelu_grad", dy=dy, x=x), slope


def _check_slope(name: str, x: Spec, slope: Spec) -> None:
    if not x.rank or slope.shape != (x.shape[-1],):
        raise ShapeError(f"{name}: x is {x}, slope {slope}; wanted one slope per channel")
    check_floats(name, x=x, slope=slope)


@dataclass(frozen=True)
class Sigmoid(Op, name="sigmoid"):
    """y = 1 / (1 + e⁻ˣ)."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(SigmoidGrad(), dy, node.output)]


@dataclass(frozen=True)
class SigmoidGrad(Op, name="sigmoid_grad"):
    """dx = dy · y · (1 - y)."""

    in_place = {0: 0}

    def infer(self, dy: Spec, y: Spec) -> Spec:
        return alike(self.name, dy=dy, y=y)


@dataclass(frozen=True)
class HardSigmoid(Op, name="hard_sigmoid"):
    """y = min(max(x / 6 + 1/2, 0), 1) (Howard et al. 2019)."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(HardSigmoidGrad(), dy, node.inputs[0])]


@dataclass(frozen=True)
class HardSigmoidGrad(Op, name="hard_sigmoid_grad"):
    """dx = dy / 6 where -3 < x < 3, else 0."""

    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class Tanh(Op, name="tanh"):
    """y = tanh x."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(TanhGrad(), dy, node.output)]


@dataclass(frozen=True)
class TanhGrad(Op, name="tanh_grad"):
    """dx = dy · (1 - y²)."""

    in_place = {0: 0}

    def infer(self, dy: Spec, y: Spec) -> Spec:
        return alike(self.name, dy=dy, y=y)


@dataclass(frozen=True)
class HardSwish(Op, name="hard_swish"):
    """y = x · hard_sigmoid(x) (Howard et al. 2019)."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(HardSwishGrad(), dy, node.inputs[0])]


@dataclass(frozen=True)
class HardSwishGrad(Op, name="hard_swish_grad"):
    """dx = 0 where x ≤ -3, dy where x ≥ 3, else dy · (x / 3 + 1/2)."""

    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class Silu(Op, name="silu"):
    """y = x · sigmoid(x) (Elfwing et al. 2018), also called swish."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(SiluGrad(), dy, node.inputs[0])]


@dataclass(frozen=True)
class SiluGrad(Op, name="silu_grad"):
    """dx = dy · s · (1 + x · (1 - s)) with s = sigmoid(x)."""

    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class Gelu(Op, name="gelu"):
    """y = x · Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016).

    `approximate` uses its tanh form.
    """

    approximate: bool = False
    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(GeluGrad(self.approximate), dy, node.inputs[0])]


@dataclass(frozen=True)
class GeluGrad(Op, name="gelu_grad"):
    """dx of gelu."""

    approximate: bool
    in_place = {0: 0}

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return alike(self.name, dy=dy, x=x)


@dataclass(frozen=True)
class Softmax(Op, name="softmax"):
    """y = eˣ / Σ eˣ along the last axis."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return _last_axis("softmax", x)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(SoftmaxGrad(), dy, node.output)]


@dataclass(frozen=True)
class SoftmaxGrad(Op, name="softmax_grad"):
    """dx = y · (dy - Σ dy · y) along the last axis."""

    in_place = {0: 0}

    def infer(self, dy: Spec, y: Spec) -> Spec:
        return _last_axis(self.name, alike(self.name, dy=dy, y=y))


@dataclass(frozen=True)
class LogSoftmax(Op, name="log_softmax"):
    """y = x - ln Σ eˣ along the last axis."""

    in_place = {0: 0}

    def infer(self, x: Spec) -> Spec:
        return _last_axis("log_softmax", x)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(LogSoftmaxGrad(), dy, node.output)]


@dataclass(frozen=True)
class LogSoftmaxGrad(Op, name="log_softmax_grad"):
    """dx = dy - eʸ · Σ dy along the last axis."""

    in_place = {0: 0}

    def infer(self, dy: Spec, y: Spec) -> Spec:
        return _last_axis(self.name, alike(self.name, dy=dy, y=y))


def _last_axis(name: str, x: Spec) -> Spec:
    if not x.rank or x.shape[-1] == 0:
        raise ShapeError(f"{name}: x is {x}, wanted a last axis with one or more elements")
    return x
