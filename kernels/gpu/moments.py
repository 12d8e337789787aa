"""Count, mean and Σ (x - mean)² of rows of channels, in parts.

A convolution that gathers statistics launches `gather` after its own launches, with scratch of `gathering_scratch`.
"""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.channels import THREADS, Walk, computed, merging, part_count, walk
from edge_sdk.kernels.gpu.launch import launch, nothing, sequence
from edge_sdk.ops.statistics import PARTS, part_step
from edge_sdk.spec import Array, Spec


def gathering_scratch(y: Spec) -> Spec:
    """Return the scratch that `gather` takes for a result y (n, p, q, k) of this spec."""
    return Spec((PARTS, part_count(y.shape, PARTS), 3, y.shape[-1]), computed(y))


def gather(statistics: Array, y: Array, pieces: Array) -> Call:
    """Return the launches that read y (n, p, q, k) once and write its statistics (part, 3, k).

    `pieces` is scratch of `gathering_scratch`. Parts end where edge_sdk/ops/statistics.py says.
    """
    over = walk(y)
    if over.channels == 0:
        return nothing()
    step, splits = part_step(y.shape[2]) * max(y.shape[2], 1), pieces.shape[1]
    merged = merging(PARTS, over.channels)
    sizes = np.int32(merged.channels), np.int32(merged.lanes), np.int32(splits)
    grid = (merged.tiles, PARTS, 1)
    return sequence(
        (
            moments(pieces, y, over, step, PARTS, splits),
            launch("moments", "merge_pieces", grid, (THREADS, 1, 1), statistics, pieces, *sizes, dtype=y.dtype.name),
        )
    )


def moments(statistics: Array, x: Array, over: Walk, step: int, parts: int, pieces: int) -> Call:
    """Return the launch that writes count, mean and Σ (x - mean)² (part · pieces, 3, c) of rows of channels.

    Parts are multiples of `step` rows but for the last, and each is cut into `pieces`.
    """
    settings = np.int64(step), np.int32(parts), np.int32(pieces)
    grid = (over.tiles, parts * pieces, 1)
    name = f"moments{over.suffix}"
    return launch("moments", name, grid, (THREADS, 1, 1), statistics, x, *over.sizes, *settings, dtype=x.dtype.name)
