"""Sums over all axes but the last, such as gradients of biases (column_sums.cu)."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.channels import THREADS, computed, merging, part_count, walk
from edge_sdk.kernels.gpu.launch import launch, nothing, sequence
from edge_sdk.spec import FLOATS, Array, Spec, dtype_of


def sums_columns(x: Spec, axes: tuple[int, ...]) -> bool:
    """Tell whether a sum of x over axes is one of columns."""
    return x.dtype in FLOATS and x.rank > 1 and axes == tuple(range(x.rank - 1))


def column_scratch(x: Spec) -> Spec:
    """Return the scratch that `column_sums` takes: sums of parts (part, c)."""
    return Spec((part_count(x.shape), x.shape[-1]), computed(x))


def column_sums(out: Array, x: Array, parts: Array) -> Call:
    """Return the launches that write the sums (c) of x (…, c)."""
    over, dtype = walk(x), dtype_of(x)
    if not over.channels:
        return nothing()
    merged, block = merging(THREADS, over.channels), (THREADS, 1, 1)
    sizes = np.int32(over.parts), np.int32(over.channels), np.int32(merged.lanes)
    grid = (over.tiles, over.parts, 1)
    return sequence(
        (
            launch("column_sums", f"column_sums{over.suffix}", grid, block, parts, x, *over.sizes, dtype=dtype),
            launch("column_sums", "sums_of_parts", (merged.tiles, 1, 1), block, out, parts, *sizes, dtype=dtype),
        )
    )
