"""Rows of the normalisations: ONNX, stored outputs of PyTorch, and the sample statistics of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_sdk.ops.norm import BatchNorm, BatchNormTraining, BatchNormTrainingAgain, LocalResponseNorm
from edge_sdk.spec import Array
from op_cases.case import Case, normal
from op_cases.onnx_oracle import run_onnx, to_nchw, to_nhwc
from op_cases.torch_oracle import torch_output

Oracle = Callable[..., Any]


def parameters(channels: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """Scale, offset, mean and variance."""
    scale, offset, mean, spread = normal(4, channels, seed=seed)
    return scale, offset, mean, np.abs(spread) + np.float32(0.5)


def _onnx_batch_norm(epsilon: float) -> Oracle:
    def oracle(x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> Array:
        (y,) = run_onnx("BatchNormalization", to_nchw(x), scale, offset, mean, variance, epsilon=epsilon)
        return to_nhwc(y)

    return oracle


def by_sample_statistics(momentum: float, epsilon: float, limit: float | None = None) -> Oracle:
    """The definition channel by channel, on the sample mean and the sample variance (divisor count - 1)."""

    def oracle(
        x: Array, scale: Array, offset: Array, mean: Array, variance: Array, residual: Array | float = 0.0
    ) -> tuple[Array, ...]:
        rows = x.reshape(-1, x.shape[-1])
        sample_mean, sample_variance = np.mean(rows, axis=0), np.var(rows, axis=0, ddof=1)
        inverse = (np.cov(rows, rowvar=False, bias=True).diagonal() + epsilon) ** -0.5
        y = ((rows - sample_mean) * inverse * scale + offset).reshape(x.shape) + residual
        return (
            y if limit is None else np.clip(y, 0, limit),
            mean + momentum * (sample_mean - mean),
            variance + momentum * (sample_variance - variance),
            sample_mean,
            inverse,
        )

    return oracle


# Every value lies 1 or more from the ends of relu6 after scale 2 and offset 3: ±1 times 2 is 1, 5 and ±5 is -7, 13.
SIGNS = np.tile(np.array([-1.0, 1.0], np.float32), 24).reshape(2, 3, 2, 4)
SPREAD = (SIGNS * np.array([1, 1, 2, 3], np.float32) * (1 + 0.05 * np.abs(normal(2, 3, 2, 4)))).astype(np.float32)

CASES = [
    Case(
        "batch-norm",
        BatchNorm(epsilon=1e-3),
        (normal(2, 4, 5, 21), *parameters(21, 1)),
        _onnx_batch_norm(1e-3),
        differentiable=(0, 1, 2),
        symbolic_batch=True,
    ),
    Case(
        "batch-norm-rows",
        BatchNorm(),
        (
            np.array([[1, 2], [3, 4]], np.float32),
            np.array([2, 1], np.float32),
            np.array([0, 1], np.float32),
            np.array([1, 2], np.float32),
            np.array([4 - 1e-5, 1 - 1e-5], np.float32),
        ),
        lambda *_: np.array([[0.0, 1.0], [2.0, 3.0]]),
        differentiable=(0, 1, 2),
    ),
    Case(
        "batch-norm-relu6",
        BatchNorm(activation="relu6"),
        (
            SPREAD.reshape(12, 4),
            np.full(4, 2, np.float32),
            np.array([3, 3, 3, 3], np.float32),
            np.zeros(4, np.float32),
            np.full(4, 1, np.float32),
        ),
        lambda x, *_: np.clip(2 * x / np.sqrt(1 + 1e-5) + 3, 0, 6),
        differentiable=(0, 1, 2),
    ),
    Case(
        "batch-norm-training-torch",
        BatchNormTraining(epsilon=1e-3, momentum=0.2),
        (
            normal(2, 6, 7, 3),
            np.array([1.5, -0.5, 2.0], np.float32),
            np.array([0.1, 0.2, -0.3], np.float32),
            np.array([0.5, -1.0, 2.0], np.float32),
            np.array([1.0, 2.0, 0.5], np.float32),
        ),
        lambda *_: tuple(torch_output("batch_norm")),
        differentiable=(0, 1, 2),
        symbolic_batch=True,
    ),
    Case(
        "batch-norm-training",
        BatchNormTraining(),
        (normal(3, 9, 8, 37) * 3 + 5, *parameters(37, 2)),
        by_sample_statistics(0.1, 1e-5),
        differentiable=(0, 1, 2),
    ),
    Case(
        "batch-norm-training-far-from-zero",
        BatchNormTraining(),
        (normal(4, 33, 32, 5) + np.float32(300), *parameters(5, 3)),
        by_sample_statistics(0.1, 1e-5),
    ),
    Case(
        "batch-norm-training-relu6",
        BatchNormTraining(activation="relu6"),
        (SPREAD, np.full(4, 2, np.float32), np.array([3, 3, -1, 7], np.float32), *parameters(4, 4)[2:]),
        by_sample_statistics(0.1, 1e-5, limit=6),
        differentiable=(0, 1, 2),
    ),
    Case(
        "batch-norm-training-residual",
        BatchNormTraining(),
        (normal(2, 5, 7, 19), *parameters(19, 5), normal(2, 5, 7, 19, seed=6)),
        by_sample_statistics(0.1, 1e-5),
        differentiable=(0, 1, 2, 5),
    ),
    Case(
        "batch-norm-training-residual-relu",
        BatchNormTraining(activation="relu"),
        (SPREAD, np.full(4, 2, np.float32), np.array([3, 3, -1, 7], np.float32), *parameters(4, 4)[2:], SIGNS * 0.25),
        by_sample_statistics(0.1, 1e-5, limit=np.inf),
        differentiable=(0, 1, 2, 5),
    ),
    Case(
        "batch-norm-training-residual-relu6",
        BatchNormTraining(activation="relu6"),
        (SPREAD, np.full(4, 2, np.float32), np.array([3, 3, -1, 7], np.float32), *parameters(4, 4)[2:], SIGNS * 0.25),
        by_sample_statistics(0.1, 1e-5, limit=6),
        differentiable=(0, 1, 2, 5),
    ),
    Case(
        "batch-norm-training-again",
        BatchNormTrainingAgain(),
        (normal(2, 5, 7, 19) + np.float32(30), *parameters(19, 7)),
        lambda x, scale, offset, mean, inverse: (x - mean) * inverse * scale + offset,
    ),
    Case(
        "batch-norm-training-again-residual-relu6",
        BatchNormTrainingAgain(activation="relu6"),
        (normal(3, 37), *parameters(37, 8), normal(3, 37, seed=9)),
        lambda x, scale, offset, mean, inverse, r: np.clip((x - mean) * inverse * scale + offset + r, 0, 6),
    ),
    Case(
        "local-response-norm",
        LocalResponseNorm(alpha=0.5, k=2.0),
        (normal(2, 3, 4, 19),),
        lambda *_: torch_output("local_response_norm"),
        differentiable=(0,),
        symbolic_batch=True,
    ),
    Case(
        "local-response-norm-other-exponent",
        LocalResponseNorm(size=3, alpha=0.3, beta=0.6, k=1.0),
        (normal(1, 3, 4, 8),),
        lambda *_: torch_output("local_response_norm_0.6"),
        differentiable=(0,),
    ),
    Case(
        "local-response-norm-hand",
        LocalResponseNorm(size=3, alpha=3.0, beta=1.0, k=1.0),
        (np.array([1, 2, 3], np.float32).reshape(1, 1, 1, 3),),
        lambda *_: np.array([1 / 6, 2 / 15, 3 / 14]).reshape(1, 1, 1, 3),
        differentiable=(0,),
    ),
]
