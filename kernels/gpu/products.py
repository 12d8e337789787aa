"""What products of matrices share on a GPU: tiles, parts of long sums, and the launch that adds them up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.launch import for_each, launch
from edge_sdk.spec import Array, Spec

TILE = 64
"""Rows and columns of the result that a block makes (gemm.cuh)."""
WIDE_TILE = 128
"""The same of the wide tiles, for results of which there are WIDE_BLOCKS or more."""
WIDE_BLOCKS = 264
THREADS = 256
WANTED_BLOCKS = 512
"""Blocks that fill a large GPU: where there are fewer, long sums are split."""
PART_TERMS = 256
"""A part of a sum has at least so many terms, or adding parts up costs more than it gains."""
MAX_PARTS = 64
MAX_COUNT = 2**31 - WIDE_TILE


def tiles(rows: int, columns: int, tile: int = TILE) -> int:
    """Return how many blocks make a result of this size."""
    return -(-rows // tile) * -(-columns // tile)


def wide_tiles_fit(rows: int, columns: int, products: int) -> bool:
    """Tell whether wide tiles are enough to fill a GPU, and little of them lies outside the result."""
    few, many = tiles(rows, columns, WIDE_TILE), tiles(rows, columns)
    return few * products >= WIDE_BLOCKS and 4 * few <= many + many // 4


def part_terms(terms: int, blocks: int) -> int:
    """Return how many of the terms of a sum are added by one block, where `blocks` would make the result of all."""
    parts = min(WANTED_BLOCKS // max(blocks, 1), terms // PART_TERMS, MAX_PARTS)
    if parts < 2:
        return max(terms, 1)
    return -(-terms // parts // 16) * 16


def parts_of(terms: int, blocks: int) -> int:
    """Return of how many parts a sum is made."""
    return max(-(-terms // part_terms(terms, blocks)), 1)


def parts_scratch(parts: int, elements: int) -> tuple[Spec, ...]:
    """Return the scratch for the parts of so many sums."""
    return (Spec((parts, elements)),) if parts > 1 else ()


def sum_parts(
    name: str, out: Array, partial: Array, bias: Array | None = None, activation: int = 0, columns: int = 1
) -> Call:
    """Return the launch that adds the parts of `out` up, in their order."""
    numbers = (partial.shape[0], columns, int(bias is not None), activation)
    return for_each(
        name, "summed", out.size, out, partial, out if bias is None else bias, *map(np.int32, numbers),
        dtype=out.dtype.name,
    )  # fmt: skip


def launch_tiles(name: str, kernel: str, rows: int, columns: int, products: int, *values: object, dtype: str) -> Call:
    """Return the launch of a kernel of which each block makes a tile of one of several products."""
    tile = WIDE_TILE if not kernel.endswith("_parts") and wide_tiles_fit(rows, columns, products) else TILE
    blocks = countable(f"{kernel}: blocks", tiles(rows, columns, tile) * products)
    kernel = f"{kernel}_wide" if tile == WIDE_TILE else kernel
    return launch(name, kernel, (blocks, 1, 1), (THREADS, 1, 1), *values, dtype=dtype)


def countable(what: str, count: int) -> int:
    """Return a count that kernels hold in 32 bits; raises GraphError for a larger one."""
    if count > MAX_COUNT:
        raise GraphError(
            f"{what}: {count} are more than the {MAX_COUNT} that a CUDA kernel counts; use smaller batches"
        )
    return count


def structure(dtype: np.dtype[np.void], values: Sequence[object]) -> np.void:
    """Return a struct of CUDA C, to be passed by value."""
    filled: np.void = np.array([tuple(values)], dtype)[0]
    return filled
