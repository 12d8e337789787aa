"""Dense layers on few examples, of factors rounded to bfloat16: weights are read once, as they lie."""

from __future__ import annotations

import math
from typing import Any

from edge_sdk.kernels.cpu.bfloat16_gemm import multiply_half, multiply_tall, pack_pairs
from edge_sdk.kernels.cpu.few_rows import CHUNK, DOT_BLOCK, DOT_COLUMNS, DOT_ROWS, STRIP
from edge_sdk.kernels.cpu.gemm import HALF_ROWS, TILE_COLUMNS, TILE_ROWS, TILE_WIDTH, up
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, whole_rows
from edge_sdk.kernels.cpu.simd import LANES, lane_sum, load, load_some, store, store_some, zero
from edge_sdk.kernels.cpu.simd_bfloat16 import PAIR, dot_pairs, lane_pairs, neighbours
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array, Spec

BLOCK_PANELS = 2  # outputs, in panels of pairs, whose weights are read for a whole strip before the next ones are


@jit
def _dot_tile(
    x: Array, first: int, rows: int, row: int, w: Array, second: int, columns: int, stride: int, count: int,
    sums: Array, at: int,
) -> None:  # fmt: skip
    """Sums tile += the products of up to DOT_ROWS rows of pairs in x, `row` apart, and DOT_COLUMNS rows of w.

    `count` numbers of each are multiplied; the lanes stay apart until the depth is done.
    """
    own = tile(DOT_ROWS, DOT_COLUMNS)
    for m in range(DOT_ROWS):
        for n in range(DOT_COLUMNS):
            own[m, n] = load(sums, at + (m * DOT_COLUMNS + n) * LANES)
    # A row that is not there is replaced by the first; its sums are never read.
    for e in range(0, count, PAIR):
        weights = tile(DOT_COLUMNS, 1)
        for n in range(DOT_COLUMNS):
            place = second + (n if n < columns else 0) * stride + e
            if e + PAIR <= count:
                weights[n, 0] = neighbours(load(w, place), load(w, place + LANES))
            else:
                rest = load_some(w, place + LANES, count - e - LANES)
                weights[n, 0] = neighbours(load_some(w, place, count - e), rest)
        for m in range(DOT_ROWS):
            value = load(x, first + (m if m < rows else 0) * row + e // 2)
            for n in range(DOT_COLUMNS):
                own[m, n] = dot_pairs(value, weights[n, 0], own[m, n])
    for m in range(DOT_ROWS):
        for n in range(DOT_COLUMNS):
            store(sums, at + (m * DOT_COLUMNS + n) * LANES, own[m, n])


@parallel_jit
def _multiply_by_rows(
    x: Array, w: Array, bias: Array, y: Array, rows: int, columns: int, depth: int, low: float, high: float,
    rounded: Array, scratch: Array,
) -> None:  # fmt: skip
    """Y (rows, columns) = clip(x (rows, depth) · w (columns, depth)ᵀ + bias)."""
    tile_size = DOT_ROWS * DOT_COLUMNS * LANES
    row_tiles, row = (rows + DOT_ROWS - 1) // DOT_ROWS, (depth + PAIR - 1) // PAIR * LANES
    for r in range(rows):
        for e in range(0, depth, PAIR):
            first = load_some(x, r * depth + e, depth - e)
            second = load_some(x, r * depth + e + LANES, depth - e - LANES)
            store(rounded, r * row + e // 2, neighbours(first, second))
    for task in prange((columns + DOT_BLOCK - 1) // DOT_BLOCK):
        mine = scratch[thread_id()]
        block = task * DOT_BLOCK
        here = min(DOT_BLOCK, columns - block)
        tiles = (here + DOT_COLUMNS - 1) // DOT_COLUMNS
        for e in range(0, tiles * row_tiles * tile_size, LANES):
            store(mine, e, zero())
        for begin in range(0, depth, CHUNK):
            count = min(CHUNK, depth - begin)
            for t in range(tiles):
                column = block + t * DOT_COLUMNS
                few = min(DOT_COLUMNS, columns - column)
                for m in range(row_tiles):
                    at = (t * row_tiles + m) * tile_size
                    left, right = m * DOT_ROWS * row + begin // 2, column * depth + begin
                    _dot_tile(rounded, left, rows - m * DOT_ROWS, row, w, right, few, depth, count, mine, at)
        for column in range(here):
            for r in range(rows):
                t = column // DOT_COLUMNS * row_tiles + r // DOT_ROWS
                place = t * tile_size + (r % DOT_ROWS * DOT_COLUMNS + column % DOT_COLUMNS) * LANES
                total = lane_sum(load(mine, place))
                if bias.size > 0:
                    total += bias[block + column]
                total = max(total, low)
                y[r * columns + block + column] = min(total, high)


def multiply_by_rows_scratch(rows: int, depth: int) -> tuple[Spec, Spec]:
    """Return the scratch that `multiply_by_rows` needs: the rounded rows, and sums per thread."""
    sums = math.ceil(rows / DOT_ROWS) * DOT_ROWS * DOT_BLOCK * LANES
    return Spec((rows * up(depth, PAIR) // 2,)), Spec((threads(), sums))


def multiply_by_rows(
    x: Array, w: Array, out: Array, scratch: tuple[Array, ...], bias: Array, limits: tuple[Any, Any]
) -> None:
    """Out (rows, columns) = clip(x (rows, depth) · w (columns, depth)ᵀ + bias, *limits); an empty bias is none."""
    (rows, depth), columns = x.shape, len(w)
    flat = (x.reshape(-1), w.reshape(-1), bias, out.reshape(-1))
    _multiply_by_rows(*flat, rows, columns, depth, *limits, *scratch)


@jit
def _add_rows(
    count: int, panels: Array, first: int, panel: int, depth_panels: int, weights: Array, weight: int, sums: Array,
    at: int,
) -> None:  # fmt: skip
    """Sums (count rows and up to TILE_ROWS - 1 more, STRIP) += panels · weights, for one tile of columns."""
    m = 0
    while m < count:
        left = count - m
        if left <= HALF_ROWS or left == 2 * HALF_ROWS:
            half = tile(HALF_ROWS, TILE_COLUMNS)
            for i in range(HALF_ROWS):
                for n in range(TILE_COLUMNS):
                    half[i, n] = load(sums, at + (m + i) * STRIP + n * LANES)
            multiply_half(panels, first + m * LANES, panel, depth_panels, weights, weight, TILE_WIDTH, half)
            for i in range(HALF_ROWS):
                for n in range(TILE_COLUMNS):
                    store(sums, at + (m + i) * STRIP + n * LANES, half[i, n])
            m += HALF_ROWS
        else:
            tall = tile(TILE_ROWS, TILE_COLUMNS)
            for i in range(TILE_ROWS):
                for n in range(TILE_COLUMNS):
                    tall[i, n] = load(sums, at + (m + i) * STRIP + n * LANES)
            multiply_tall(panels, first + m * LANES, panel, depth_panels, weights, weight, TILE_WIDTH, tall)
            for i in range(TILE_ROWS):
                for n in range(TILE_COLUMNS):
                    store(sums, at + (m + i) * STRIP + n * LANES, tall[i, n])
            m += TILE_ROWS


@jit
def _round_block(
    w: Array, output: int, outputs: int, pairs: int, column: int, columns: int, packed: Array, to: int
) -> None:
    """Pack `pairs` pairs of rows of w (outputs, columns), from row `output` on, for one tile of columns."""
    for pair in range(pairs):
        first, second = output + 2 * pair, output + 2 * pair + 1
        for v in range(0, TILE_WIDTH, LANES):
            above = below = zero()
            source, left = first * columns + column + v, columns - column - v
            if left >= LANES and second < outputs:
                above, below = load(w, source), load(w, source + columns)
            else:
                if first < outputs:
                    above = load_some(w, source, left)
                if second < outputs:
                    below = load_some(w, source + columns, left)
            store(packed, to + pair * TILE_WIDTH + v, lane_pairs(above, below))


@parallel_jit
def _multiply_by_columns(
    x: Array, geometry: tuple[int, ...], w: Array, y: Array, rows: int, outputs: int, columns: int, panels: Array,
    scratch: Array,
) -> None:  # fmt: skip
    """Y (rows, columns) = x (rows, outputs) · w (outputs, columns)."""
    window = Window(*geometry)
    depth_panels, panel = (outputs + PAIR - 1) // PAIR, (rows + TILE_ROWS) * LANES
    pack_pairs(x, window, 0, rows, panels, panel, panels[:0])
    for task in prange((columns + STRIP - 1) // STRIP):
        mine = scratch[thread_id()]
        strip = task * STRIP
        wide = min(STRIP, columns - strip)
        packed = (rows + TILE_ROWS) * STRIP
        for e in range(0, packed, LANES):
            store(mine, e, zero())
        for block in range(0, depth_panels, BLOCK_PANELS):
            here = min(BLOCK_PANELS, depth_panels - block)
            for column in range(0, wide, TILE_WIDTH):
                _round_block(w, block * PAIR, outputs, here * LANES, strip + column, columns, mine, packed)
                _add_rows(rows, panels, block * panel, panel, here, mine, packed, mine, column)
        for r in range(rows):
            for e in range(0, wide, LANES):
                store_some(y, r * columns + strip + e, load(mine, r * STRIP + e), wide - e)


def multiply_by_columns_scratch(rows: int, outputs: int) -> tuple[Spec, Spec]:
    """Return the scratch that `multiply_by_columns` needs."""
    own = (rows + TILE_ROWS) * STRIP + BLOCK_PANELS * LANES * TILE_WIDTH
    return Spec((up(outputs, PAIR) // 2 * (rows + TILE_ROWS),)), Spec((threads(), own))


def multiply_by_columns(x: Array, w: Array, out: Array, scratch: tuple[Array, ...]) -> None:
    """Out (rows, columns) = x (rows, outputs) · w (outputs, columns)."""
    (rows, outputs), columns = x.shape, w.shape[1]
    flat = (x.reshape(-1), tuple(whole_rows(rows, outputs)), w.reshape(-1), out.reshape(-1))
    _multiply_by_columns(*flat, rows, outputs, columns, *scratch)
