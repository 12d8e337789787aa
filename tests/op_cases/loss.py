"""Rows of the losses: scipy's log-softmax, log-expit and huber, ONNX's loss operator, and hand values."""

from __future__ import annotations

import numpy as np
from scipy.special import huber, log_expit, log_softmax

from edge_sdk.ops.loss import HuberLoss, L1Loss, MeanSquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy
from edge_sdk.spec import Array
from op_cases.case import Case, away_from, normal
from op_cases.onnx_oracle import run_onnx

LABELS = np.array([2, 0, 4, 1, 2], np.int32)


def _smoothed(logits: Array, label: Array) -> Array:
    """Label smoothing 0.1 over 5 classes: 0.92 at the label and 0.02 elsewhere."""
    logarithms = log_softmax(logits, axis=1)
    return -0.02 * logarithms.sum(axis=1) - 0.9 * logarithms[np.arange(len(label)), label]


def _apart(seed: int, *kinks: float) -> Array:
    """Predictions whose difference to `normal(4, 2, 3, seed=9)` is no kink of the loss."""
    target = normal(4, 2, 3, seed=9)
    return target + away_from(normal(4, 2, 3, seed=seed, scale=2), *kinks)


CASES = [
    Case(
        "softmax-cross-entropy",
        SoftmaxCrossEntropy(),
        (normal(5, 6, scale=3), LABELS),
        lambda logits, label: run_onnx("SoftmaxCrossEntropyLoss", logits, label, opset=13, reduction="none")[0],
        differentiable=(0,),
    ),
    Case(
        "softmax-cross-entropy-hand",
        SoftmaxCrossEntropy(),
        (np.array([[0, 0], [1000, 0], [-1000, 0]], np.float32), np.array([1, 0, 0], np.int64)),
        lambda *_: np.array([np.log(2), 0.0, 1000.0]),
    ),
    Case(
        "softmax-cross-entropy-smoothed",
        SoftmaxCrossEntropy(label_smoothing=0.1),
        (normal(5, 5, scale=2), LABELS),
        _smoothed,
        differentiable=(0,),
    ),
    Case(
        "softmax-cross-entropy-ignored-rows",
        SoftmaxCrossEntropy(),
        (normal(3, 4), np.array([1, -1, 3], np.int32)),
        lambda logits, _label: np.array([-log_softmax(logits[0])[1], 0.0, -log_softmax(logits[2])[3]]),
        differentiable=(0,),
    ),
    Case(
        "sigmoid-cross-entropy",
        SigmoidCrossEntropy(),
        (normal(4, 3, 2, scale=3), np.abs(np.tanh(normal(4, 3, 2, seed=1)))),
        lambda x, t: -(t * log_expit(x) + (1 - t) * log_expit(-x)).mean(axis=(1, 2)),
        differentiable=(0,),
    ),
    Case(
        "sigmoid-cross-entropy-hand",
        SigmoidCrossEntropy(),
        (np.array([[0, 500], [-500, 0]], np.float32), np.array([[1, 0], [0, 1]], np.float32)),
        lambda *_: np.array([(np.log(2) + 500) / 2, np.log(2) / 2]),
    ),
    Case(
        "mean-squared-error",
        MeanSquaredError(),
        (normal(2, 3), np.zeros((2, 3), np.float32)),
        lambda p, _t: np.array([row @ row / 3 for row in p]),
        differentiable=(0, 1),
    ),
    Case(
        "mean-squared-error-of-numbers",
        MeanSquaredError(),
        (np.array([1, 2], np.float32), np.array([4, 0], np.float32)),
        lambda *_: np.array([9.0, 4.0]),
        differentiable=(0, 1),
    ),
    Case(
        "l1-loss",
        L1Loss(),
        (_apart(1, 0.0), normal(4, 2, 3, seed=9)),
        lambda p, t: np.array([np.linalg.norm((a - b).ravel(), 1) / 6 for a, b in zip(p, t, strict=True)]),
        differentiable=(0, 1),
    ),
    Case(
        "huber-loss",
        HuberLoss(delta=1.5),
        (_apart(2, -1.5, 1.5), normal(4, 2, 3, seed=9)),
        lambda p, t: huber(1.5, p - t).mean(axis=(1, 2)),
        differentiable=(0, 1),
    ),
]
