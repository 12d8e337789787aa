"""Convolutions that also gather the statistics of what they make, for the batch norm that follows."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu import conv, depthwise_conv
from edge_sdk.kernels.gpu.launch import for_each, launch, nothing, sequence
from edge_sdk.kernels.gpu.products import WANTED_BLOCKS, countable, structure
from edge_sdk.ops.statistics import PARTS, Conv2DStatistics, DepthwiseConv2DStatistics, part_step
from edge_sdk.spec import Array, Spec

LANES, ROWS = 32, 8
"""Channels and rows that a block takes at a time (statistics.cu)."""
SLICE_ROWS = 256
"""A slice of a part has at least so many rows."""
STRUCT = np.dtype(
    [(name, "i4") for name in ("parts", "slices", "steps", "step", "lines", "width", "channels")], align=True
)
"""The struct Parts of statistics.cu."""

Statistics = Conv2DStatistics | DepthwiseConv2DStatistics


def _slices(rows: int, channels: int) -> int:
    """Into how many slices each part is cut: enough blocks to fill a GPU twice, each with enough to do."""
    blocks = PARTS * -(-channels // LANES)
    return max(min(2 * WANTED_BLOCKS // max(blocks, 1), rows // PARTS // SLICE_ROWS), 1)


def statistics_scratch(op: Statistics, x: Spec, w: Spec, *rest: Spec) -> tuple[Spec, ...]:
    """Return the scratch in which `gather` merges slices."""
    y = op.infer_outputs((x, w, *rest))[0].shape
    return (Spec((PARTS, _slices(math.prod(y[:3]), y[3]), 3, y[3])),)


def gather(statistics: Array, y: Array, slices: Array) -> Call:
    """Return the launches that gather the statistics (part, 3, c) of y (n, p, q, c), all parts empty where y is."""
    n, p, q, channels = y.shape
    if channels == 0:
        return nothing()
    step, dtype = part_step(q), y.dtype.name
    countable("statistics: pixels", n * p * q)
    per_part, across = slices.shape[1], -(-channels // LANES)
    struct = structure(STRUCT, (PARTS, per_part, -(-n * p // step), step, n * p, q, channels))
    grid = countable("statistics: blocks", PARTS * per_part * across)
    first = launch("statistics", "gathered", (grid, 1, 1), (LANES * ROWS, 1, 1), slices, y, struct, dtype=dtype)
    numbers = (np.int32(per_part), np.int32(channels))
    return sequence(
        [first, for_each("statistics", "merged_slices", PARTS * channels, statistics, slices, *numbers, dtype=dtype)]
    )


@kernel(Conv2DStatistics, "gpu", scratch=statistics_scratch, binds=True)
def conv2d_statistics(
    op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    return sequence([conv.forward(op.convolution, out[0], x, w, b, None), gather(out[1], out[0], scratch[0])])


@kernel(DepthwiseConv2DStatistics, "gpu", scratch=statistics_scratch, binds=True)
def depthwise_conv2d_statistics(
    op: DepthwiseConv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    return sequence([depthwise_conv.forward(op.convolution, out[0], x, w, b), gather(out[1], out[0], scratch[0])])
