"""Naive kernels of statistics that convolutions gather: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.reference.conv import conv2d, depthwise_conv2d
from edge_sdk.kernels.reference.norm import normalise_by
from edge_sdk.ops.statistics import (
    BatchNormTrainingGathered,
    Conv2DStatistics,
    DepthwiseConv2DStatistics,
    part_bounds,
)
from edge_sdk.spec import Array


def _gather(y: Array, statistics: Array) -> None:
    n, p, q, k = y.shape
    bounds = part_bounds(n * p, q)
    statistics[...] = 0
    for part, rows in enumerate(np.split(y.reshape(-1, k), bounds[1:-1])):
        if len(rows):
            mean = rows.mean(axis=0)
            statistics[part] = np.full(k, len(rows)), mean, ((rows - mean) ** 2).sum(axis=0)


@kernel(Conv2DStatistics, "reference")
def conv2d_statistics(
    op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None
) -> None:
    conv2d(op.convolution, out[0], x, w, b)
    _gather(*out)


@kernel(DepthwiseConv2DStatistics, "reference")
def depthwise_conv2d_statistics(
    op: DepthwiseConv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None
) -> None:
    depthwise_conv2d(op.convolution, out[0], x, w, b)
    _gather(*out)


@kernel(BatchNormTrainingGathered, "reference")
def batch_norm_training_gathered(
    op: BatchNormTrainingGathered,
    out: tuple[Array, Array, Array, Array, Array],
    x: Array,
    scale: Array,
    offset: Array,
    mean: Array,
    variance: Array,
    statistics: Array,
    residual: Array | None = None,
) -> None:
    counts, means, squares = statistics[:, 0], statistics[:, 1], statistics[:, 2]
    batch_mean = (counts * means).sum(axis=0) / counts.sum(axis=0)
    batch_variance = (squares + counts * (means - batch_mean) ** 2).sum(axis=0) / counts.sum(axis=0)
    normalise_by(op.norm, out, x, scale, offset, mean, variance, batch_mean, batch_variance, residual)
