"""Losses, one number per example; average them with reduce_mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value, alike, check_floats


def _per_example(name: str, prediction: Spec, target: Spec) -> Spec:
    if prediction.shape != target.shape or not prediction.rank:
        raise ShapeError(f"{name}: prediction {prediction} and target {target} differ; wanted the same (n, …)")
    check_floats(name, prediction=prediction, target=target)
    return prediction.with_shape(prediction.shape[:1])


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Op, name="softmax_cross_entropy"):
    """-Σ t · log softmax(logits) per row of logits (n, k), with whole-number labels (n,).

    t is 1 - s + s / k at the label and s / k elsewhere, s the label smoothing (Szegedy et al. 2016). A row whose label
    is negative has loss and gradient 0.
    """

    label_smoothing: float = 0.0

    def infer(self, logits: Spec, label: Spec) -> Spec:
        if logits.rank != 2 or label.shape != logits.shape[:1] or label.dtype not in ("int32", "int64"):
            raise ShapeError(f"softmax_cross_entropy: logits {logits}, label {label}; wanted (n, k) and whole (n,)")
        if not 0 <= self.label_smoothing < 1:
            raise ShapeError(f"softmax_cross_entropy: label_smoothing {self.label_smoothing} is not in [0, 1)")
        return logits.with_shape(logits.shape[:1])

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(SoftmaxCrossEntropyGrad(self.label_smoothing), dy, *node.inputs), None]


@dataclass(frozen=True)
class SoftmaxCrossEntropyGrad(Op, name="softmax_cross_entropy_grad"):
    """dlogits = dloss · (softmax(logits) - t)."""

    label_smoothing: float

    def infer(self, dloss: Spec, logits: Spec, label: Spec) -> Spec:
        alike("softmax_cross_entropy_grad", loss=SoftmaxCrossEntropy().infer(logits, label), dloss=dloss)
        return logits


@dataclass(frozen=True)
class SigmoidCrossEntropy(Op, name="sigmoid_cross_entropy"):
    """Mean over a row of max(x, 0) - x · t + ln(1 + e^-|x|), for logits x and targets t in [0, 1] of shape (n, …)."""

    def infer(self, logits: Spec, target: Spec) -> Spec:
        return _per_example("sigmoid_cross_entropy", logits, target)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(SigmoidCrossEntropyGrad(), dy, *node.inputs), None]


@dataclass(frozen=True)
class SigmoidCrossEntropyGrad(Op, name="sigmoid_cross_entropy_grad"):
    """dlogits = dloss · (sigmoid(x) - t) / elements of a row."""

    def infer(self, dloss: Spec, logits: Spec, target: Spec) -> Spec:
        alike(self.name, loss=_per_example(self.name, logits, target), dloss=dloss)
        return logits


@dataclass(frozen=True)
class MeanSquaredError(Op, name="mean_squared_error"):
    """Mean over a row of (prediction - target)², both (n, …)."""

    def infer(self, prediction: Spec, target: Spec) -> Spec:
        return _per_example("mean_squared_error", prediction, target)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return _regression_gradients(g, RegressionLossGrad("squared"), node, dy)


@dataclass(frozen=True)
class L1Loss(Op, name="l1_loss"):
    """Mean over a row of |prediction - target|, both (n, …)."""

    def infer(self, prediction: Spec, target: Spec) -> Spec:
        return _per_example("l1_loss", prediction, target)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return _regression_gradients(g, RegressionLossGrad("absolute"), node, dy)


@dataclass(frozen=True)
class HuberLoss(Op, name="huber_loss"):
    """Mean over a row of e² / 2 where |e| ≤ delta, else delta · (|e| - delta / 2).

    e = prediction - target (Huber 1964).
    """

    delta: float = 1.0

    def infer(self, prediction: Spec, target: Spec) -> Spec:
        if self.delta <= 0:
            raise ShapeError(f"huber_loss: delta {self.delta} must be above 0")
        return _per_example("huber_loss", prediction, target)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return _regression_gradients(g, RegressionLossGrad("huber", self.delta), node, dy)


@dataclass(frozen=True)
class RegressionLossGrad(Op, name="regression_loss_grad"):
    """dprediction of a loss of e = prediction - target: 2e ("squared"), sign e ("absolute") or e within ± delta
    ("huber"), times dloss / elements of a row.
    """

    kind: Literal["squared", "absolute", "huber"]
    delta: float = 1.0

    def infer(self, dloss: Spec, prediction: Spec, target: Spec) -> Spec:
        alike(self.name, loss=_per_example(self.name, prediction, target), dloss=dloss)
        return prediction


def _regression_gradients(g: Builder, op: RegressionLossGrad, node: Node, dy: Value) -> Sequence[Value | None]:
    """The target's gradient is the prediction's, negated: these losses depend on their difference."""
    from edge_sdk.ops.elementwise import Neg

    to_prediction = g.add(op, dy, *node.inputs)
    return [to_prediction, g.add(Neg(), to_prediction)]
