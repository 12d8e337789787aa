"""Reductions over some axes of an array, as sums.cuh does them: how terms are cut depends on the shape alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.launch import THREADS, launch, nothing, number, sequence
from edge_sdk.kernels.gpu.strides import STRIDES, contiguous_strides, strides
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.spec import Array, Spec

REDUCTION = np.dtype(
    [("kept", STRIDES), ("reduced", STRIDES), ("results", "i8"), ("terms", "i8"), ("chunk", "i8")], align=True
)
"""The struct Reduction of sums.cuh."""
LANES, ROWS = 32, 8
BLOCKS = 1024
"""Enough for every multiprocessor of a large GPU; as many chunks are made as give that many blocks."""
MAX_CHUNKS = 256
TERMS_OF_A_THREAD = 8
"""Below that a chunk is not worth a block."""


@dataclass(frozen=True)
class Reduction:
    """How an array is reduced.

    Attributes:
        struct: What the kernels take.
        columns: Whether neighbours belong to different results.
        results: How many there are.
        chunks: Into how many parts each is cut.
    """

    struct: np.void
    columns: bool
    results: int
    chunks: int

    def launches(
        self, name: str, kernel: str, parts: Array, given: Sequence[Any], last: str, out: Array, *numbers: Any,
        dtype: str,
    ) -> Call:  # fmt: skip
        """Return `kernel`_columns or _rows, which takes the parts, what is given and the struct, then kernel `last`."""
        if self.results == 0:
            return nothing()
        across = -(-self.results // LANES)
        kind, grid, block = (
            ("columns", (across, self.chunks, 1), (LANES, ROWS, 1))
            if self.columns
            else ("rows", (self.results, self.chunks, 1), (THREADS, 1, 1))
        )
        first = launch(name, f"{kernel}_{kind}", grid, block, parts, *given, self.struct, dtype=dtype)
        counts = (np.int64(self.results), np.int32(self.chunks))
        second = launch(name, last, (across, 1, 1), (LANES, ROWS, 1), out, parts, *counts, *numbers, dtype=dtype)
        return sequence((first, second))


def reduction(shape: Sequence[int], axes: Collection[int]) -> Reduction:
    """Return how an array of `shape` is reduced over `axes`."""
    own = contiguous_strides(shape)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    walked, sizes = [], []
    for chosen in (kept, sorted(axes)):
        part = [shape[axis] for axis in chosen]
        walked.append(strides(part, [own[axis] for axis in chosen]))
        sizes.append(math.prod(part))
    results, terms = sizes
    columns = next((axis in kept for axis in reversed(range(len(shape))) if shape[axis] != 1), False)
    blocks, together = (-(-results // LANES), ROWS) if columns else (results, THREADS)
    wanted = -(-BLOCKS // max(blocks, 1))
    chunk = max(-(-terms // min(wanted, MAX_CHUNKS)), min(terms, together * TERMS_OF_A_THREAD), 1)
    struct = structure(REDUCTION, *walked, results, terms, chunk)
    return Reduction(struct, columns, results, max(-(-terms // chunk), 1))


def parts(shape: Sequence[int], axes: Collection[int], dtype: str) -> Spec:
    """Return what lies between the two launches: the parts of every result, in the type that is computed with."""
    planned = reduction(shape, axes)
    return Spec((planned.chunks, planned.results), number(0, dtype).dtype.name)
