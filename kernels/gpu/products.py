"""What products of matrices share on a GPU: tiles, parts of long sums, what multiplies, and the launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.launch import for_each, launch
from edge_sdk.spec import Array, Spec, dtype_of

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

TENSOR_CORES = {"float16": 75, "bfloat16": 80, "float32": 80, "int8": 80}
"""The first generation (sm_…) whose tensor cores multiply numbers of a dtype; float32 is rounded to TF32 there."""
EMULATED = "emulated"


@dataclass(frozen=True)
class Arithmetic:
    """By what factors of `dtype` are multiplied: on tensor cores, or one by one."""

    dtype: str
    tensor_cores: bool = False

    def threads(self, tile: int) -> int:
        """Return the threads of a block that makes a tile (tensor_tile.cuh, plain_tile.cuh)."""
        return 2 * tile if self.tensor_cores else THREADS


def arithmetic(factor: Array, precision: str = "float32") -> Arithmetic:
    """Return by what the current device multiplies factors like this one.

    Numbers of 16 bits go to its tensor cores where it has such; float32 only where the precision of an operator allows
    it to be rounded.
    """
    dtype = dtype_of(factor)
    wanted = dtype != "float32" or precision != "float32"
    return Arithmetic(dtype, wanted and has_tensor_cores(current_driver().architecture, dtype))


def has_tensor_cores(architecture: str, dtype: str) -> bool:
    """Tell whether tensor cores of an architecture such as "sm_90" multiply numbers of a dtype."""
    if dtype not in TENSOR_CORES:
        return False
    return architecture == EMULATED or int(architecture.removeprefix("sm_")) >= TENSOR_CORES[dtype]


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


@dataclass(frozen=True)
class Plan:
    """How several products of one size are made: by which tiles, and of how many parts each sum.

    It depends on sizes alone, so that a graph gives the same sums on every GPU that has the same arithmetic.
    """

    rows: int
    columns: int
    products: int
    tile: int
    parts: int
    part_terms: int

    @property
    def scratch(self) -> tuple[Spec, ...]:
        """The parts of all sums, where there are several of each."""
        return (Spec((self.parts, self.products * self.rows * self.columns)),) if self.parts > 1 else ()


def plan(rows: int, columns: int, terms: int, products: int) -> Plan:
    """Return how products are made whose sums may be split: by wide tiles if their parts fill a GPU too."""
    for tile in (WIDE_TILE, TILE):
        blocks = tiles(rows, columns, tile) * products
        parts = parts_of(terms, blocks)
        if tile == TILE or wide_tiles_fit(rows, columns, products * parts):
            break
    return Plan(rows, columns, products, tile, parts, part_terms(terms, blocks))


def whole_sums(rows: int, columns: int, terms: int, products: int) -> Plan:
    """Return how products are made each of whose sums one block adds up."""
    tile = WIDE_TILE if wide_tiles_fit(rows, columns, products) else TILE
    return Plan(rows, columns, products, tile, 1, max(terms, 1))


def is_unrounded(out: Array, by: Arithmetic) -> bool:
    """Tell whether a result of factors of 16 bits is stored as the float32 in which it was added up."""
    return by.dtype != out.dtype.name == "float32"


def sum_parts(
    name: str, out: Array, partial: Array, bias: Array | None = None, activation: int = 0, columns: int = 1,
    by: Arithmetic | None = None,
) -> Call:  # fmt: skip
    """Return the launch that adds the parts of `out` up, in their order; `by` says of what factors, if of others."""
    by = by or Arithmetic(dtype_of(out))
    numbers = (partial.shape[0], columns, int(bias is not None), activation)
    kernel, added = "summed_unrounded" if is_unrounded(out, by) else "summed", partial if bias is None else bias
    return for_each(name, kernel, out.size, out, partial, added, *map(np.int32, numbers), dtype=by.dtype)


def launch_tiles(name: str, kernel: str, planned: Plan, *values: object, by: Arithmetic) -> Call:
    """Return the launch of a kernel of which each block makes a tile of a part of one of several products."""
    blocks = tiles(planned.rows, planned.columns, planned.tile) * planned.products * planned.parts
    grid = (countable(f"{kernel}: blocks", blocks), 1, 1)
    kernel = f"{kernel}_wide" if planned.tile == WIDE_TILE else kernel
    return launch(
        name, kernel, grid, (by.threads(planned.tile), 1, 1), *values, dtype=by.dtype, tensor_cores=by.tensor_cores
    )  # fmt: skip


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
