"""Shapes and strides as CUDA kernels take them, with adjacent axes that can be walked as one merged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.errors import GraphError

MAX_RANK = 8
STRIDES = np.dtype(
    [("rank", "i4"), ("shape", "i4", MAX_RANK), ("a", "i8", MAX_RANK), ("b", "i8", MAX_RANK), ("c", "i8", MAX_RANK)],
    align=True,
)
"""The struct Strides of strided.cuh."""


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return how many elements lie between neighbours along each axis of an array in C order."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def broadcast_strides(shape: Sequence[int], result: Sequence[int]) -> tuple[int, ...]:
    """Return the strides by which an array of `shape` in C order is read as one of `result`: 0 where it is repeated."""
    own = contiguous_strides(shape)
    missing = len(result) - len(shape)
    return (0,) * missing + tuple(0 if size == 1 else stride for size, stride in zip(shape, own, strict=True))


def strides(result: Sequence[int], *operands: Sequence[int]) -> np.void:
    """Return the struct for a result of a shape and up to three operands' strides over it.

    Raises:
        GraphError: more axes than a kernel takes, of those that cannot be merged.
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    for axis, size in enumerate(result):
        if size == 1:
            continue
        steps = tuple(operand[axis] for operand in operands)
        if axes and all(outer == inner * size for outer, inner in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = (axes[-1][0] * size, steps)
        else:
            axes.append((size, steps))
    if len(axes) > MAX_RANK:
        raise GraphError(f"a CUDA kernel walks at most {MAX_RANK} axes; {list(result)} has {len(axes)}")
    struct: np.void = np.zeros(1, STRIDES)[0]
    struct["rank"] = len(axes)
    for place, (size, steps) in enumerate(axes):
        struct["shape"][place] = size
        for name, step in zip("abc", steps, strict=False):
            struct[name][place] = step
    return struct
