"""Rows of convolutions that gather statistics: ONNX's Conv, and NumPy's mean and variance of each part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_sdk.ops.statistics import BatchNormTrainingGathered, Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.spec import Array
from op_cases.case import Case, normal
from op_cases.conv import NO_PADS, onnx_conv, onnx_depthwise
from op_cases.norm import by_sample_statistics, parameters

PARTS = 32
Oracle = Callable[..., Array]


def _with_statistics(convolution: Oracle, step: int) -> Callable[..., tuple[Array, Array]]:
    """The result, and its statistics: parts are made of steps of so many image rows, the last may have fewer.

    Shares are even: the j-th of s steps, counted from 1, belongs to the first part i, so counted, with i / 32 >= j / s.
    """

    def oracle(*inputs: Array) -> tuple[Array, Array]:
        y = convolution(*inputs)
        n, p, q, k = y.shape
        lines = y.reshape(n * p, q, k)
        steps = [lines[first : first + step] for first in range(0, len(lines), step)]
        statistics = np.zeros((PARTS, 3, k))
        for part in range(1, PARTS + 1):
            mine = [s for j, s in enumerate(steps, 1) if -(-PARTS * j // len(steps)) == part]
            if mine:
                rows = np.concatenate(mine).reshape(-1, k)
                statistics[part - 1] = np.full(k, len(rows)), rows.mean(axis=0), rows.var(axis=0) * len(rows)
        return y, statistics

    return oracle


def _statistics_of(x: Array, ends: list[int]) -> Array:
    """Statistics of x (…, c) in parts that end at these rows; two equal ends make an empty part."""
    parts = np.split(x.reshape(-1, x.shape[-1]), ends)
    zeros = np.zeros(x.shape[-1])
    made = [(zeros + len(part), part.mean(0), part.var(0) * len(part)) if len(part) else [zeros] * 3 for part in parts]
    return np.array(made).astype(np.float32)


X = normal(3, 4, 5, 19, seed=11) * 2 + 7

CASES = [
    Case(
        "conv2d-statistics-matrix",
        Conv2DStatistics(),
        (normal(3, 25, 7, 20), normal(37, 1, 1, 20, seed=1)),
        _with_statistics(onnx_conv(NO_PADS, (1, 1), (1, 1), 1), step=8),
        symbolic_batch=True,
    ),
    Case(
        "conv2d-statistics-matrix-far-from-zero",
        Conv2DStatistics(),
        (normal(8, 14, 14, 16), normal(64, 1, 1, 16, seed=2), normal(64, seed=3) + np.float32(100)),
        _with_statistics(onnx_conv(NO_PADS, (1, 1), (1, 1), 1), step=4),
    ),
    Case(
        "conv2d-statistics-lines",
        Conv2DStatistics(stride=(2, 2), padding=((3, 2), (3, 2))),
        (normal(1, 224, 40, 3), normal(21, 7, 7, 3, seed=4), normal(21, seed=5)),
        _with_statistics(onnx_conv((3, 3, 2, 2), (2, 2), (1, 1), 1), step=14),
    ),
    Case(
        "conv2d-statistics-3x3",
        Conv2DStatistics(padding="same"),
        (normal(2, 14, 14, 32), normal(32, 3, 3, 32, seed=6)),
        _with_statistics(onnx_conv((1, 1, 1, 1), (1, 1), (1, 1), 1), step=4),
        tolerance=5e-5,
    ),
    Case(
        "conv2d-statistics-groups",
        Conv2DStatistics(groups=2, dilation=(2, 1)),
        (normal(2, 9, 6, 10), normal(6, 3, 2, 5, seed=7)),
        _with_statistics(onnx_conv(NO_PADS, (1, 1), (2, 1), 2), step=56),
    ),
    Case(
        "depthwise-conv2d-statistics",
        DepthwiseConv2DStatistics(padding="same"),
        (normal(8, 14, 14, 37), normal(1, 3, 3, 37, seed=8), normal(37, seed=9)),
        _with_statistics(onnx_depthwise((1, 1, 1, 1)), step=4),
        symbolic_batch=True,
    ),
    Case(
        "depthwise-conv2d-statistics-strided",
        DepthwiseConv2DStatistics(stride=(2, 2), padding=((1, 1), (1, 1))),
        (normal(3, 50, 42, 16), normal(1, 3, 3, 16, seed=8)),
        _with_statistics(onnx_depthwise((1, 1, 1, 1), (2, 2)), step=8),
    ),
    Case(
        "depthwise-conv2d-statistics-multiplier",
        DepthwiseConv2DStatistics(),
        (normal(2, 6, 9, 3), normal(1, 2, 2, 6, seed=10)),
        _with_statistics(onnx_depthwise(NO_PADS), step=7),
    ),
    Case(
        "batch-norm-training-gathered",
        BatchNormTrainingGathered(epsilon=1e-3, momentum=0.2),
        (X, *parameters(19, 12), _statistics_of(X, [7, 7, 30, 31])),
        lambda x, *rest: by_sample_statistics(0.2, 1e-3)(x, *rest[:4]),
    ),
    Case(
        "batch-norm-training-gathered-residual-relu6",
        BatchNormTrainingGathered(activation="relu6"),
        (X, *parameters(19, 13), _statistics_of(X, [0, 20, 40, 60]), normal(*X.shape, seed=14)),
        lambda x, *rest: by_sample_statistics(0.1, 1e-5, limit=6)(x, *rest[:4], rest[5]),
    ),
]
