"""Register-blocked matrix product out (m, n) = a (m, depth) · b (depth, n), the one loop under all dense kernels.

Both factors are packed block by block (packing.py); the blocking is that of Goto and van de Geijn (2008). Every element
is summed in an order that depends on the shapes only, so the bytes do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.packing import (
    TILE_COLUMNS,
    TILE_WIDTH,
    Source,
    copy_run,
    pack_columns,
    pack_rows,
)
from edge_sdk.kernels.cpu.simd import LANES, at_least, at_most, broadcast, fma, load, splat, store, tile
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Array, Spec

# The tile of results kept in registers, rows × vectors: with one row of b and one broadcast it must fit the 32
# registers of AVX-512 and NEON, or the 16 of AVX2. The half tile is for what is left when rows run out.
TILE_ROWS = {16: 14, 8: 6, 4: 8}[LANES]
HALF_ROWS = {16: 8, 8: 4, 4: 4}[LANES]
BLOCK_DEPTH = 256  # a packed column tile of b, 32 KiB, stays in the first-level cache
BLOCK_ROWS = 8 * TILE_ROWS  # a packed block of a stays in the second-level cache
BLOCK_COLUMNS = 256  # so does a packed block of b
PANEL = (BLOCK_ROWS + TILE_ROWS) * LANES  # the last tile may read beyond the last row

MOST_SHARED = 4 << 20  # elements of a right factor that is packed as a whole
FEW_TASKS, SHORTEST_PART = 8, 512  # with fewer tasks, the depth is cut too, into parts of this length or more


def _make_multiply_tile(rows: int, columns: int) -> Callable[..., None]:
    """Compile the inner kernel for a tile of `rows` × `columns` vectors."""

    @jit
    def multiply_tile(
        left: Array, first: int, right: Array, second: int, depth: int, initial: Array, origin: int, origin_row: int,
        out: Array, to: int, row: int, low: float, high: float,
    ) -> None:  # fmt: skip
        """Out tile = initial tile + packed rows at left[first] · packed columns at right[second], clipped."""
        sums = tile(rows, columns)
        for m in range(rows):
            for n in range(columns):
                sums[m, n] = load(initial, origin + m * origin_row + n * LANES)
        for d in range(depth):
            place = first + d // LANES * PANEL + d % LANES
            for m in range(rows):
                factor = broadcast(left, place + m * LANES)
                for n in range(columns):
                    sums[m, n] = fma(factor, load(right, second + n * LANES), sums[m, n])
            second += TILE_WIDTH
        lowest, highest = splat(low), splat(high)
        for m in range(rows):
            for n in range(columns):
                store(out, to + m * row + n * LANES, at_most(highest, at_least(lowest, sums[m, n])))

    return multiply_tile


_multiply_tile = _make_multiply_tile(TILE_ROWS, TILE_COLUMNS)
_multiply_half_tile = _make_multiply_tile(HALF_ROWS, TILE_COLUMNS)
_multiply_narrow_tile = _make_multiply_tile(TILE_ROWS, 1)
_multiply_narrow_half_tile = _make_multiply_tile(HALF_ROWS, 1)


@jit
def _multiply_any_tile(
    tall: bool, wide: bool, left: Array, first: int, right: Array, second: int, depth: int, initial: Array, origin: int,
    origin_row: int, out: Array, to: int, row: int, low: float, high: float,
) -> None:  # fmt: skip
    if tall and wide:
        _multiply_tile(left, first, right, second, depth, initial, origin, origin_row, out, to, row, low, high)
    elif tall:
        _multiply_narrow_tile(left, first, right, second, depth, initial, origin, origin_row, out, to, row, low, high)
    elif wide:
        _multiply_half_tile(left, first, right, second, depth, initial, origin, origin_row, out, to, row, low, high)
    else:
        _multiply_narrow_half_tile(
            left, first, right, second, depth, initial, origin, origin_row, out, to, row, low, high
        )


@jit
def _multiply_block(
    mine: Array, rows: int, right: Array, base: int, columns: int, depth: int, bias: int, edge: int, accumulate: bool,
    out: Array, to: int, row: int, low: float, high: float,
) -> None:  # fmt: skip
    """Out block (=, from the bias at mine[bias], or +=) the packed rows in `mine` · the packed columns at right[base].

    Tiles that reach over the edge of the block pass through mine[edge …].
    """
    for n in range(0, columns, TILE_WIDTH):
        wide = columns - n > LANES
        width = min(columns - n, TILE_WIDTH)
        m = 0
        while m < rows:
            tall = rows - m > HALF_ROWS and rows - m != 2 * HALF_ROWS
            height = min(rows - m, TILE_ROWS if tall else HALF_ROWS)
            place = to + m * row + n
            whole = height == (TILE_ROWS if tall else HALF_ROWS) and width == (TILE_WIDTH if wide else LANES)
            initial, origin, origin_row = (out, place, row) if accumulate else (mine, bias + n, 0)
            result, target, step = (out, place, row) if whole else (mine, edge, TILE_WIDTH)
            if accumulate and not whole:
                initial, origin, origin_row = mine, edge, TILE_WIDTH
                for r in range(height):
                    copy_run(out, place + r * row, width, mine, edge + r * TILE_WIDTH)
            _multiply_any_tile(
                tall, wide, mine, m * LANES, right, base + n * depth, depth, initial, origin, origin_row,
                result, target, step, low, high,
            )  # fmt: skip
            if not whole:
                for r in range(height):
                    copy_run(mine, edge + r * TILE_WIDTH, width, out, place + r * row)
            m += TILE_ROWS if tall else HALF_ROWS


class Blocking(NamedTuple):
    """How a product of one shape is cut into tasks."""

    columns: int
    """Of the result, per task."""
    parts: int
    """Of the depth; each is summed apart and the sums are added in order."""
    shared: int
    """Elements of the right factor when it is packed once for all tasks, else 0."""

    @classmethod
    def of(cls, m: int, n: int, depth: int) -> Blocking:
        """Choose from the shapes alone: the order of summation must not depend on the machine's threads."""
        row_tasks = max(1, math.ceil(m / BLOCK_ROWS))
        width = max(1, math.ceil(n / TILE_WIDTH)) * TILE_WIDTH
        shared = width * depth if row_tasks > 2 and width * depth <= MOST_SHARED else 0
        columns = width if shared else min(width, BLOCK_COLUMNS)
        wanted = math.ceil(FEW_TASKS / (row_tasks * math.ceil(width / columns)))
        parts = min(wanted, depth // SHORTEST_PART)
        if wanted > 1 and parts <= 2:
            parts, columns = 1, max(TILE_WIDTH, math.ceil(columns / wanted / TILE_WIDTH) * TILE_WIDTH)
        return cls(columns, max(1, parts), shared)


# Scratch of one task: packed rows, a line or an edge tile, the bias, packed columns.
LINE = (BLOCK_DEPTH // LANES) * PANEL
BIAS = LINE + max(BLOCK_DEPTH, BLOCK_COLUMNS, TILE_ROWS * TILE_WIDTH) + TILE_WIDTH


@parallel_jit
def _pack_all_columns(b: Array, source: Source, n: int, depth: int, packed: Array, scratch: Array) -> None:
    """Pack the whole right factor: [depth block][column tile][depth][TILE_WIDTH]."""
    width = (n + TILE_WIDTH - 1) // TILE_WIDTH * TILE_WIDTH
    groups = (n + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS
    for task in prange((depth + BLOCK_DEPTH - 1) // BLOCK_DEPTH * groups):
        begin, column = task // groups * BLOCK_DEPTH, task % groups * BLOCK_COLUMNS
        here = min(BLOCK_DEPTH, depth - begin)
        base = begin * width + column * here
        columns = min(BLOCK_COLUMNS, n - column)
        pack_columns(b, source, begin, here, column, columns, packed, base, scratch[thread_id()], LINE)


@parallel_jit
def _multiply(
    a: Array, a_source: Source, b: Array, b_source: Source, shared: Array, out: Array, start: int, stride: int,
    m: int, n: int, depth: int, block_columns: int, parts: int, bias: Array, low: float, high: float, scratch: Array,
) -> None:  # fmt: skip
    """Compute the product, or its `parts` partial sums one after the other from out[start] on."""
    tiles = (n + TILE_WIDTH - 1) // TILE_WIDTH
    column_tasks = (n + block_columns - 1) // block_columns
    row_tasks = (m + BLOCK_ROWS - 1) // BLOCK_ROWS
    depth_blocks = max(1, (depth + BLOCK_DEPTH - 1) // BLOCK_DEPTH)
    packed = (BIAS + (block_columns + TILE_WIDTH - 1) // LANES * LANES) if shared.size == 0 else 0
    for task in prange(parts * row_tasks * column_tasks):
        mine = scratch[thread_id()]
        part, rest = task // (row_tasks * column_tasks), task % (row_tasks * column_tasks)
        row, column = rest // column_tasks * BLOCK_ROWS, rest % column_tasks * block_columns
        rows, columns = min(BLOCK_ROWS, m - row), min(block_columns, n - column)
        first, last = depth_blocks * part // parts, depth_blocks * (part + 1) // parts
        for e in range(columns):
            mine[BIAS + e] = bias[column + e] if bias.size > 0 and part == 0 else np.float32(0)
        for block in range(first, last):
            begin = block * BLOCK_DEPTH
            here = min(BLOCK_DEPTH, depth - begin)
            pack_rows(a, a_source, row, rows, begin, here, mine, PANEL, LINE)
            if shared.size > 0:
                right, base = shared, (begin * tiles + column // TILE_WIDTH * here) * TILE_WIDTH
            else:
                right, base = mine, packed
                pack_columns(b, b_source, begin, here, column, columns, mine, packed, mine, LINE)
            done = block == last - 1
            _multiply_block(
                mine, rows, right, base, columns, here, BIAS, LINE, block > first,
                out, start + (part * m + row) * stride + column, stride,
                low if done else np.float32(-np.inf), high if done else np.float32(np.inf),
            )  # fmt: skip


@parallel_jit
def _add_parts(
    partial: Array, parts: int, m: int, n: int, out: Array, start: int, stride: int, low: float, high: float
) -> None:
    for row in prange(m):
        to = start + row * stride
        for e in range(n):
            total = partial[row * n + e]
            for part in range(1, parts):
                total += partial[(part * m + row) * n + e]
            total = max(total, low)
            out[to + e] = min(total, high)


def multiply_scratch(m: int, n: int, depth: int) -> tuple[Spec, ...]:
    """Return the scratch that `multiply` needs."""
    blocking = Blocking.of(m, n, depth)
    columns = 0 if blocking.shared else blocking.columns * min(depth, BLOCK_DEPTH)
    own = BIAS + blocking.columns + TILE_WIDTH + columns + LANES
    partial = blocking.parts * m * n if blocking.parts > 1 else 0
    return Spec((threads(), own)), Spec((blocking.shared,)), Spec((partial,))


def multiply(
    a: Array, a_source: Source, b: Array, b_source: Source, out: Array, m: int, n: int, depth: int, scratch: Any,
    bias: Array | None = None, activation: Activation = None, start: int = 0, stride: int | None = None,
) -> None:  # fmt: skip
    """Compute out (m, n), flat from element `start` with `stride` elements a row (default n), plus bias, activated."""
    own, shared, partial = scratch
    blocking = Blocking.of(m, n, depth)
    a, b, out, row = a.reshape(-1), b.reshape(-1), out.reshape(-1), n if stride is None else stride
    low, high = LIMITS[activation]
    bias = own[0, :0] if bias is None else bias
    if blocking.shared:
        _pack_all_columns(b, b_source, n, depth, shared, own)
    if blocking.parts == 1:
        _multiply(
            a, a_source, b, b_source, shared, out, start, row, m, n, depth, blocking.columns, 1, bias, low, high, own
        )
        return
    _multiply(
        a, a_source, b, b_source, shared, partial, 0, n, m, n, depth, blocking.columns, blocking.parts, bias,
        *LIMITS[None], own,
    )  # fmt: skip
    _add_parts(partial, blocking.parts, m, n, out, start, row, low, high)
