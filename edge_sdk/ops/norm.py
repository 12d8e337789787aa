"""Batch normalization (Ioffe and Szegedy 2015) and local response normalization (Krizhevsky et al. 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import before_activation
from edge_sdk.ops.geometry import Activation, image_size
from edge_sdk.spec import FLOATS, HALVES, Spec, Value, accumulated, alike, check_floats


def _check(name: str, x: Spec, *parameters: Spec) -> None:
    if x.rank < 2 or any(p.shape != (x.shape[-1],) for p in parameters):
        shown = ", ".join(map(str, parameters))
        raise ShapeError(f"{name}: x is {x}, its parameters {shown}; wanted one number per channel")
    if x.dtype in FLOATS and any(p.dtype not in (x.dtype, accumulated(x.dtype)) for p in parameters):
        shown, wider = ", ".join(map(str, parameters)), " or in float32" if x.dtype in HALVES else ""
        raise ShapeError(f"{name}: x is {x}, its parameters {shown}; wanted them in the type of x{wider}")


@dataclass(frozen=True)
class BatchNorm(Op, name="batch_norm"):
    """Inference form: y = scale · (x - mean) / √(variance + epsilon) + offset, per last axis of x (n, …, c)."""

    epsilon: float = 1e-5
    activation: Activation = None
    in_place = {0: 0}

    def infer(self, x: Spec, scale: Spec, offset: Spec, mean: Spec, variance: Spec) -> Spec:
        _check("batch_norm", x, scale, offset, mean, variance)
        return x.with_shape(x.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        x, scale, _, mean, variance = node.inputs
        dy = before_activation(g, self.activation, node.output, dy)
        dx, dscale, doffset = g.add_multi(BatchNormGrad(self.epsilon), dy, x, scale, mean, variance)
        return [dx, dscale, doffset, None, None]


@dataclass(frozen=True)
class BatchNormGrad(Op, name="batch_norm_grad"):
    """dx (n, …, c), dscale (c) and doffset (c) of batch_norm in its inference form."""

    epsilon: float

    def infer(self, dy: Spec, x: Spec, scale: Spec, mean: Spec, variance: Spec) -> tuple[Spec, Spec, Spec]:
        _check("batch_norm_grad", x, scale, mean, variance)
        return alike("batch_norm_grad", dy=dy, x=x), scale, scale


@dataclass(frozen=True)
class BatchNormTraining(Op, name="batch_norm_training"):
    """Training form: normalises x (n, …, c) by the batch's own mean and variance.

    With a residual (n, …, c) y is activation(normalised x + residual), the end of a residual block in one pass.
    Outputs: y; the new running mean and variance, (1 - momentum) · old + momentum · batch, the variance unbiased as in
    PyTorch; the batch's mean and 1 / √(variance + epsilon), for the gradient.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    activation: Activation = None
    in_place = {1: 3, 2: 4}

    def infer(
        self, x: Spec, scale: Spec, offset: Spec, mean: Spec, variance: Spec, residual: Spec | None = None
    ) -> tuple[Spec, Spec, Spec, Spec, Spec]:
        _check("batch_norm_training", x, scale, offset, mean, variance)
        if residual is not None and residual.shape != x.shape:
            raise ShapeError(f"batch_norm_training: x is {x}, its residual {residual}; wanted equal shapes")
        check_floats("batch_norm_training", x=x, residual=residual)
        return x.with_shape(x.shape), mean, variance, mean, variance

    def grad(self, g: Builder, node: Node, dy: Value, *others: Value | None) -> Sequence[Value | None]:
        x, scale, offset = node.inputs[:3]
        y, mean, inverse_deviation = node.outputs[0], node.outputs[3], node.outputs[4]
        residual, active = len(node.inputs) == 6, self.activation is not None
        op = BatchNormTrainingGrad(self.activation, residual=residual and active)
        where_active: tuple[Value, ...] = ()
        if active:
            where_active = (offset, y) if residual else (offset,)
        dx, dscale, doffset, *dresidual = g.add_multi(op, dy, x, scale, mean, inverse_deviation, *where_active)
        if residual and not active:  # all of it passes
            dresidual = [dy]
        return [dx, dscale, doffset, None, None, *dresidual]


@dataclass(frozen=True)
class BatchNormTrainingAgain(Op, name="batch_norm_training_again"):
    """y of batch_norm_training once more, bit for bit, from the statistics that it saved.

    activation(scale · (x - mean) · inverse_deviation + offset + residual), x and residual (n, …, c), the others (c).
    """

    activation: Activation = None

    def infer(
        self, x: Spec, scale: Spec, offset: Spec, mean: Spec, inverse_deviation: Spec, residual: Spec | None = None
    ) -> Spec:
        _check("batch_norm_training_again", x, scale, offset, mean, inverse_deviation)
        if residual is not None and residual.shape != x.shape:
            raise ShapeError(f"batch_norm_training_again: x is {x}, its residual {residual}; wanted equal shapes")
        check_floats("batch_norm_training_again", x=x, residual=residual)
        return x.with_shape(x.shape)


@dataclass(frozen=True)
class BatchNormTrainingGrad(Op, name="batch_norm_training_grad"):
    """dx, dscale, doffset of batch_norm_training, for which the batch's mean and deviation depend on x too.

    Where an activation follows, dy passes where its argument, computed again from x and the offset, lies inside; with a
    residual too, where the result y does: that is one array to read, not two. With a residual there is a fourth output,
    its gradient, which is what passes. With z = (x - mean) · inverse_deviation and averages over all but the channels:
    dx = scale · inverse_deviation · (dy - mean(dy) - z · mean(dy · z)).
    """

    activation: Activation = None
    residual: bool = False
    in_place = {0: 1, 3: 0}

    def infer(
        self, dy: Spec, x: Spec, scale: Spec, mean: Spec, inverse_deviation: Spec, offset: Spec | None = None,
        y: Spec | None = None,
    ) -> tuple[Spec, ...]:  # fmt: skip
        active = self.activation is not None
        if (offset is not None) != active or (y is not None) != (active and self.residual):
            raise ShapeError(
                "batch_norm_training_grad: with an activation it needs the offset, with a residual too the result y, "
                "and neither without an activation"
            )
        _check(self.name, x, scale, mean, inverse_deviation, *([] if offset is None else [offset]))
        alike(self.name, dy=dy, x=x, y=y)
        return (dy, scale, scale, dy) if self.residual else (dy, scale, scale)


@dataclass(frozen=True)
class LocalResponseNorm(Op, name="local_response_norm"):
    """y = x / (k + alpha / size · Σ x²)^beta, the sum over `size` neighbouring channels of x (n, h, w, c).

    Alpha is divided by the size as in Caffe and PyTorch.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def infer(self, x: Spec) -> Spec:
        image_size("local_response_norm", x)
        if self.size < 1 or self.size % 2 == 0:
            raise ShapeError(f"local_response_norm: size must be an odd number of channels, got {self.size}")
        return x.with_shape(x.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(LocalResponseNormGrad(self.size, self.alpha, self.beta, self.k), dy, node.inputs[0])]


@dataclass(frozen=True)
class LocalResponseNormGrad(Op, name="local_response_norm_grad"):
    """dx of local_response_norm, d its denominator:

    dy · d^-beta - 2 · alpha · beta / size · x · Σ dy · x · d^(-beta - 1).
    """

    size: int
    alpha: float
    beta: float
    k: float

    def infer(self, dy: Spec, x: Spec) -> Spec:
        image_size("local_response_norm_grad", x)
        return alike("local_response_norm_grad", dy=dy, x=x)
