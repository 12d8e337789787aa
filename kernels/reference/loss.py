"""Naive kernels of the loss family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.reference.activation import logistic, stable_softmax
from edge_sdk.ops.loss import (
    HuberLoss,
    L1Loss,
    MeanSquaredError,
    RegressionLossGrad,
    SigmoidCrossEntropy,
    SigmoidCrossEntropyGrad,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from edge_sdk.spec import Array


def _targets(logits: Array, label: Array, smoothing: float) -> Array:
    classes = logits.shape[1]
    at_label = label[:, np.newaxis] == np.arange(classes)
    return np.where(label[:, np.newaxis] < 0, 0, at_label * (1 - smoothing) + smoothing / classes)


@kernel(SoftmaxCrossEntropy, "reference")
def softmax_cross_entropy(op: SoftmaxCrossEntropy, out: Array, logits: Array, label: Array) -> None:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    out[...] = -(_targets(logits, label, op.label_smoothing) * log_probability).sum(axis=1)


@kernel(SoftmaxCrossEntropyGrad, "reference")
def softmax_cross_entropy_grad(
    op: SoftmaxCrossEntropyGrad, out: Array, dloss: Array, logits: Array, label: Array
) -> None:
    slope = stable_softmax(logits) - _targets(logits, label, op.label_smoothing)
    out[...] = np.where(label[:, np.newaxis] < 0, 0, dloss[:, np.newaxis] * slope)


def _row_means(x: Array) -> Array:
    return np.asarray(x.reshape(len(x), -1).mean(axis=1))


def _over_rows(dloss: Array, like: Array) -> Array:
    """Dloss (n) spread over rows (n, …) and divided by their length."""
    return np.asarray(dloss.reshape(-1, *(1,) * (like.ndim - 1)) / (like.size / len(like)))


@kernel(SigmoidCrossEntropy, "reference")
def sigmoid_cross_entropy(op: SigmoidCrossEntropy, out: Array, logits: Array, target: Array) -> None:
    out[...] = _row_means(np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits))))


@kernel(SigmoidCrossEntropyGrad, "reference")
def sigmoid_cross_entropy_grad(
    op: SigmoidCrossEntropyGrad, out: Array, dloss: Array, logits: Array, target: Array
) -> None:
    out[...] = _over_rows(dloss, logits) * (logistic(logits) - target)


@kernel(MeanSquaredError, "reference")
def mean_squared_error(op: MeanSquaredError, out: Array, prediction: Array, target: Array) -> None:
    out[...] = _row_means((prediction - target) ** 2)


@kernel(L1Loss, "reference")
def l1_loss(op: L1Loss, out: Array, prediction: Array, target: Array) -> None:
    out[...] = _row_means(np.abs(prediction - target))


@kernel(HuberLoss, "reference")
def huber_loss(op: HuberLoss, out: Array, prediction: Array, target: Array) -> None:
    e = np.abs(prediction - target)
    out[...] = _row_means(np.where(e <= op.delta, e * e / 2, op.delta * (e - op.delta / 2)))


@kernel(RegressionLossGrad, "reference")
def regression_loss_grad(op: RegressionLossGrad, out: Array, dloss: Array, prediction: Array, target: Array) -> None:
    e = prediction - target
    slope = {"squared": 2 * e, "absolute": np.sign(e), "huber": np.clip(e, -op.delta, op.delta)}[op.kind]
    out[...] = _over_rows(dloss, prediction) * slope
