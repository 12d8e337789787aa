"""Losses on the device beyond the table of operators: long rows, gradients, labels of both types, extreme logits."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.both_orders import worst_error
from op_cases.case import normal

from edge_sdk.op import Op
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

TOLERANCE = 1e-5


@pytest.mark.parametrize("classes", [1, 2, 31, 1000, 1025, 5003])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_softmax_losses_of_any_number_of_classes(classes: int, smoothing: float, dtype: str) -> None:
    """By a warp or by a block, with rows that are left out, the loss and its gradient are those of float64."""
    logits = normal(9, classes, scale=5)
    label = np.random.default_rng(1).integers(0, classes, 9).astype(dtype)
    label[[2, 7]] = -1

    assert worst_error(SoftmaxCrossEntropy(smoothing), (logits, label)) <= TOLERANCE
    assert worst_error(SoftmaxCrossEntropyGrad(smoothing), (normal(9), logits, label)) <= TOLERANCE


@pytest.mark.parametrize("shape", [(1500,), (1003, 2), (7, 1025), (2, 70, 71, 3), (1, 40000)], ids=str)
@pytest.mark.parametrize("op", [SigmoidCrossEntropy(), MeanSquaredError(), L1Loss(), HuberLoss(0.7)], ids=str)
def test_means_of_rows_of_any_length(op: Op, shape: tuple[int, ...]) -> None:
    """Short rows are a warp's, long ones are cut over blocks."""
    assert worst_error(op, (normal(*shape, scale=3), normal(*shape, seed=1))) <= TOLERANCE


@pytest.mark.parametrize("shape", [(1500,), (2, 70, 71, 3)], ids=str)
@pytest.mark.parametrize(
    "op",
    [SigmoidCrossEntropyGrad(), *(RegressionLossGrad(kind, 0.7) for kind in ("squared", "absolute", "huber"))],
    ids=str,
)
def test_slopes_of_rows_of_any_length(op: Op, shape: tuple[int, ...]) -> None:
    """Each element gets its row's slope; where prediction and target are equal the absolute loss is level."""
    prediction, target = normal(*shape, scale=3), normal(*shape, seed=1)
    prediction.reshape(-1)[::7] = target.reshape(-1)[::7]

    assert worst_error(op, (normal(shape[0], seed=2), prediction, target)) <= TOLERANCE


def test_extreme_logits_overflow_nothing() -> None:
    """Losses of logits far from zero are finite."""
    logits = np.array([[1e4, -1e4, 0], [-3e38, 0, 3e38]], np.float32)

    assert worst_error(SoftmaxCrossEntropyGrad(0.0), (np.ones(2, np.float32), logits, np.array([0, 2]))) <= TOLERANCE
    assert worst_error(SigmoidCrossEntropy(), (logits / 1e3, np.full_like(logits, 0.5))) <= TOLERANCE
