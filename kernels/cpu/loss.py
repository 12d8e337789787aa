"""Losses: a row an example."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
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

SQUARED, ABSOLUTE, HUBER, SIGMOID = 0, 1, 2, 3
KINDS = {"squared": SQUARED, "absolute": ABSOLUTE, "huber": HUBER}


@jit
def _log_sum(logits: Array, row: int) -> Any:
    """Ln Σ eˣ of a row."""
    largest = logits[row, 0]
    for c in range(1, logits.shape[1]):
        largest = max(largest, logits[row, c])
    total = 0.0
    for c in range(logits.shape[1]):
        total += np.exp(logits[row, c] - largest)
    return largest + np.log(total)


@parallel_jit
def _softmax_cross_entropy(logits: Array, label: Array, loss: Array, smoothing: float) -> None:
    classes = logits.shape[1]
    for row in prange(logits.shape[0]):
        target = label[row]
        if target < 0:
            loss[row] = 0.0
            continue
        shift = _log_sum(logits, row)
        spread = 0.0
        for c in range(classes):
            spread += shift - logits[row, c]
        at_label = shift - logits[row, target] if target < classes else 0.0
        loss[row] = (1 - smoothing) * at_label + smoothing / classes * spread


@kernel(SoftmaxCrossEntropy, "cpu")
def softmax_cross_entropy(op: SoftmaxCrossEntropy, out: Array, logits: Array, label: Array) -> None:
    _softmax_cross_entropy(logits, label, out, op.label_smoothing)


@parallel_jit
def _softmax_cross_entropy_grad(dloss: Array, logits: Array, label: Array, dx: Array, smoothing: float) -> None:
    classes = logits.shape[1]
    for row in prange(logits.shape[0]):
        if label[row] < 0:
            dx[row] = 0.0
            continue
        shift = _log_sum(logits, row)
        for c in range(classes):
            target = smoothing / classes + (1 - smoothing if c == label[row] else 0.0)
            dx[row, c] = dloss[row] * (np.exp(logits[row, c] - shift) - target)


@kernel(SoftmaxCrossEntropyGrad, "cpu")
def softmax_cross_entropy_grad(
    op: SoftmaxCrossEntropyGrad, out: Array, dloss: Array, logits: Array, label: Array
) -> None:
    _softmax_cross_entropy_grad(dloss, logits, label, out, op.label_smoothing)


@parallel_jit
def _row_loss(x: Array, target: Array, loss: Array, kind: int, delta: float) -> None:
    for row in prange(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            e = x[row, c] - target[row, c]
            if kind == SQUARED:
                total += e * e
            elif kind == ABSOLUTE:
                total += abs(e)
            elif kind == HUBER:
                size = abs(e)
                total += 0.5 * e * e if size <= delta else delta * (size - 0.5 * delta)
            else:
                total += max(x[row, c], 0.0) - x[row, c] * target[row, c] + np.log1p(np.exp(-abs(x[row, c])))
        loss[row] = total / x.shape[1]


@parallel_jit
def _row_loss_grad(dloss: Array, x: Array, target: Array, dx: Array, kind: int, delta: float) -> None:
    for row in prange(x.shape[0]):
        share = dloss[row] / x.shape[1]
        for c in range(x.shape[1]):
            e = x[row, c] - target[row, c]
            if kind == SQUARED:
                dx[row, c] = 2 * e * share
            elif kind == ABSOLUTE:
                dx[row, c] = share * np.sign(e)
            elif kind == HUBER:
                dx[row, c] = share * min(max(e, -delta), delta)
            else:
                p = np.exp(-abs(x[row, c]))
                sigmoid = 1 / (1 + p) if x[row, c] >= 0 else p / (1 + p)
                dx[row, c] = share * (sigmoid - target[row, c])


def _rows(x: Array) -> Array:
    return x.reshape(len(x), -1)


@kernel(SigmoidCrossEntropy, "cpu")
def sigmoid_cross_entropy(op: SigmoidCrossEntropy, out: Array, logits: Array, target: Array) -> None:
    _row_loss(_rows(logits), _rows(target), out, SIGMOID, 0.0)


@kernel(SigmoidCrossEntropyGrad, "cpu")
def sigmoid_cross_entropy_grad(
    op: SigmoidCrossEntropyGrad, out: Array, dloss: Array, logits: Array, target: Array
) -> None:
    _row_loss_grad(dloss, _rows(logits), _rows(target), _rows(out), SIGMOID, 0.0)


@kernel(MeanSquaredError, "cpu")
def mean_squared_error(op: MeanSquaredError, out: Array, prediction: Array, target: Array) -> None:
    _row_loss(_rows(prediction), _rows(target), out, SQUARED, 0.0)


@kernel(L1Loss, "cpu")
def l1_loss(op: L1Loss, out: Array, prediction: Array, target: Array) -> None:
    _row_loss(_rows(prediction), _rows(target), out, ABSOLUTE, 0.0)


@kernel(HuberLoss, "cpu")
def huber_loss(op: HuberLoss, out: Array, prediction: Array, target: Array) -> None:
    _row_loss(_rows(prediction), _rows(target), out, HUBER, op.delta)


@kernel(RegressionLossGrad, "cpu")
def regression_loss_grad(op: RegressionLossGrad, out: Array, dloss: Array, prediction: Array, target: Array) -> None:
    _row_loss_grad(dloss, _rows(prediction), _rows(target), _rows(out), KINDS[op.kind], op.delta)
