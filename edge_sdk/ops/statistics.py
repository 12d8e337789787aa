"""A batch's statistics, gathered by the convolution before a batch norm, which then reads its input once, not twice.

They come in PARTS parts, each of neighbouring pixels: statistics (part, 3, c) has for each channel how many numbers
there were, their mean and Σ (y - mean)². Where parts end is decided by shapes alone.

No operator here has a gradient: the pass that puts them into a graph runs when all gradients are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge_sdk.errors import ShapeError
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.geometry import Activation, Padding, Pair, Precision
from edge_sdk.ops.norm import BatchNormTraining
from edge_sdk.spec import Array, Spec, accumulated

PARTS = 32
WHOLE = 56
"""Parts are, but for the last, multiples of so many pixels: kernels work on 8 or 14 of them at a time."""


def part_step(width: int) -> int:
    """Return of how many image rows of `width` pixels parts are multiples."""
    return WHOLE // math.gcd(WHOLE, max(width, 1))


@lru_cache(1024)
def part_bounds(lines: int, width: int) -> Array:
    """Return the pixel where each part begins, and where the last one ends (PARTS + 1), of `lines` rows of `width`.

    Parts are made of whole image rows. Some are empty where there are few.
    """
    step = part_step(width)
    steps = -(-lines // step)
    bounds: Array = np.minimum(steps * np.arange(PARTS + 1) // PARTS * step, lines) * width
    return bounds.astype(np.int64)


def _statistics_of(y: Spec) -> Spec:
    return Spec((PARTS, 3, y.shape[-1]), accumulated(y.dtype))


@dataclass(frozen=True)
class Conv2DStatistics(Op, name="conv2d_statistics"):
    """y (n, p, q, k) of conv2d without activation, and its statistics (part, 3, k)."""

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    groups: int = 1
    precision: Precision = "float32"

    @property
    def convolution(self) -> Conv2D:
        """What makes y."""
        return Conv2D(self.stride, self.padding, self.dilation, self.groups, precision=self.precision)

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, Spec]:
        y = self.convolution.infer(x, w, b)
        return y, _statistics_of(y)


@dataclass(frozen=True)
class DepthwiseConv2DStatistics(Op, name="depthwise_conv2d_statistics"):
    """y (n, p, q, c · m) of depthwise_conv2d without activation, and its statistics (part, 3, c · m)."""

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)

    @property
    def convolution(self) -> DepthwiseConv2D:
        """What makes y."""
        return DepthwiseConv2D(self.stride, self.padding, self.dilation)

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, Spec]:
        y = self.convolution.infer(x, w, b)
        return y, _statistics_of(y)


@dataclass(frozen=True)
class BatchNormTrainingGathered(Op, name="batch_norm_training_gathered"):
    """batch_norm_training of x (n, …, c) whose statistics (part, 3, c) were gathered when x was made.

    Parts are merged as in Chan, Golub, LeVeque (1979), equation 2.1. Outputs are those of batch_norm_training.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    activation: Activation = None
    in_place = {1: 3, 2: 4}

    @property
    def norm(self) -> BatchNormTraining:
        """The same on x alone."""
        return BatchNormTraining(self.epsilon, self.momentum, self.activation)

    def infer(
        self, x: Spec, scale: Spec, offset: Spec, mean: Spec, variance: Spec, statistics: Spec,
        residual: Spec | None = None,
    ) -> tuple[Spec, Spec, Spec, Spec, Spec]:  # fmt: skip
        wanted = Spec((3, x.shape[-1]), accumulated(x.dtype))
        if statistics.rank != 3 or (statistics.shape[1:], statistics.dtype) != (wanted.shape, wanted.dtype):
            raise ShapeError(
                f"batch_norm_training_gathered: statistics are {statistics}, wanted parts of {wanted} for x {x}"
            )
        return self.norm.infer(x, scale, offset, mean, variance, residual)
