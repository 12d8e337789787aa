"""Matrix products of bytes with int32 sums, under 8-bit convolutions and dense layers.

As gemm.py for floats: the left factor is gathered into panels (int8_patches.py), a tile of sums stays in registers over
the whole depth, and every step of the depth takes four bytes of both factors at once. The right factor is packed once:

    weights[column / TILE_WIDTH][depth / 4][TILE_WIDTH][4]

The sums are exact, so no result depends on how the work is divided. Where a tile ends, sums become stored numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_sdk.kernels.cpu.int8_patches import line_size, pack_patches
from edge_sdk.kernels.cpu.integer_tile import integer_tile
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.kernels.cpu.simd import LANES, splat
from edge_sdk.kernels.cpu.simd_integers import (
    BYTES,
    broadcast_group,
    dot4,
    load_integers,
    load_some_integers,
    splat_integer,
    store_bytes,
    store_some_bytes,
)
from edge_sdk.kernels.cpu.simd_rescaling import load_factors, rescale
from edge_sdk.quantization.arithmetic import Rescaling
from edge_sdk.spec import Array, Spec

GROUP = 4  # bytes that one lane of dot4 takes

# The tile of sums kept in registers, rows × vectors, as in gemm.py; short ones for what is left when rows run out.
TILE_ROWS, TILE_COLUMNS = {16: (14, 2), 8: (6, 2), 4: (6, 2)}[LANES]
HALF_ROWS = {16: 7, 8: 3, 4: 3}[LANES]
TILE_WIDTH = TILE_COLUMNS * LANES
STEP = TILE_WIDTH * GROUP  # bytes of packed weights from one group of the depth to the next

MOST_PANEL = 384 << 10  # bytes of a packed block of rows, in a second-level cache of 1 MiB beside the weights of a tile
MOST_ROWS = 8 * TILE_ROWS  # of a block


def up(value: int, step: int) -> int:
    """Round up to a multiple of `step`."""
    return -(-value // step) * step


def _make_product(rows: int, columns: int) -> Callable[..., None]:  # noqa: C901 - it counts the function inside
    """Compile a tile of `rows` × `columns` vectors: its sums over the depth, and what is stored of them."""

    @jit
    def product(  # noqa: C901 - all in one, for the tile to stay in registers
        panels: Array, first: int, panel: int, groups: int, weights: Array, weight: int, bias: Array, offsets: Array,
        factors: Array, column: int, out: Array, to: int, row: int, height: int, width: int, zero: int,
        low: float, high: float,
    ) -> None:  # fmt: skip
        """out[to + m · row + e] = stored(Σ + bias + offsets) for m < height, e < width of the tile."""
        sums = integer_tile(rows, columns)
        for n in range(columns):
            start = load_some_integers(offsets, column + n * LANES, width - n * LANES)
            if bias.size > 0:
                start = start + load_some_integers(bias, column + n * LANES, width - n * LANES)
            for m in range(rows):
                sums[m, n] = start
        for _ in range(groups // LANES):
            for k in range(LANES):
                for m in range(rows):
                    seen = broadcast_group(panels, first + m * BYTES + k * GROUP)
                    for n in range(columns):
                        sums[m, n] = dot4(sums[m, n], seen, load_integers(weights, weight + n * BYTES))
                weight += STEP
            first += panel
        for k in range(groups % LANES):
            for m in range(rows):
                seen = broadcast_group(panels, first + m * BYTES + k * GROUP)
                for n in range(columns):
                    sums[m, n] = dot4(sums[m, n], seen, load_integers(weights, weight + n * BYTES))
            weight += STEP
        lowest, highest, zeros = splat(low), splat(high), splat_integer(zero)
        for n in range(columns):
            count = width - n * LANES
            factor = load_factors(factors, column + n * LANES, count)
            for m in range(rows):
                if m < height:
                    value = rescale(sums[m, n], factor, lowest, highest) + zeros
                    if count >= LANES:
                        store_bytes(out, to + m * row + n * LANES, value)
                    else:
                        store_some_bytes(out, to + m * row + n * LANES, value, count)

    return product


_tall = _make_product(TILE_ROWS, TILE_COLUMNS)
_half = _make_product(HALF_ROWS, TILE_COLUMNS)
_single = _make_product(1, TILE_COLUMNS)
_narrow = _make_product(TILE_ROWS, 1)


@jit
def _multiply_rows(
    count: int, panels: Array, panel: int, groups: int, weights: Array, weight: int, bias: Array, offsets: Array,
    factors: Array, column: int, out: Array, to: int, row: int, width: int, zero: int, low: float, high: float,
) -> None:  # fmt: skip
    """Cover `count` rows with tiles. Panels are read, but nothing is written, up to TILE_ROWS - 1 rows beyond."""
    m = 0
    while m < count:
        left = count - m
        if width <= LANES:
            _narrow(
                panels, m * BYTES, panel, groups, weights, weight, bias, offsets, factors, column,
                out, to + m * row, row, left, width, zero, low, high,
            )  # fmt: skip
            m += TILE_ROWS
        elif left == 1:
            _single(
                panels, m * BYTES, panel, groups, weights, weight, bias, offsets, factors, column,
                out, to + m * row, row, left, width, zero, low, high,
            )  # fmt: skip
            m += 1
        elif left <= HALF_ROWS:
            _half(
                panels, m * BYTES, panel, groups, weights, weight, bias, offsets, factors, column,
                out, to + m * row, row, left, width, zero, low, high,
            )  # fmt: skip
            m += HALF_ROWS
        else:
            _tall(
                panels, m * BYTES, panel, groups, weights, weight, bias, offsets, factors, column,
                out, to + m * row, row, left, width, zero, low, high,
            )  # fmt: skip
            m += TILE_ROWS


@parallel_jit
def _multiply_window(
    x: Array, geometry: tuple[int, ...], images: int, input_zero: int, weights: Array, columns: int, bias: Array,
    offsets: Array, factors: Array, out: Array, channels: int, first: int, zero: int, low: float, high: float,
    block_rows: int, column_tasks: int, scratch: Array,
) -> None:  # fmt: skip
    # Numba takes tuples of numbers fast, named ones slowly: they get their names inside.
    window = Window(*geometry)
    rows, depth = images * window.out_height * window.out_width, window.rows * window.columns * window.depth
    groups = (depth + GROUP - 1) // GROUP
    depth_panels = (depth + BYTES - 1) // BYTES
    tiles = (columns + TILE_WIDTH - 1) // TILE_WIDTH
    panel = (block_rows + TILE_ROWS) * BYTES
    row_tasks = (rows + block_rows - 1) // block_rows
    for task in prange(row_tasks * column_tasks):
        mine = scratch[thread_id()]
        first_row, share = task // column_tasks * block_rows, task % column_tasks
        count = min(block_rows, rows - first_row)
        pack_patches(x, window, input_zero, first_row, count, mine, panel, depth_panels * panel)
        for t in range(tiles * share // column_tasks, tiles * (share + 1) // column_tasks):
            column = t * TILE_WIDTH
            _multiply_rows(
                count, mine, panel, groups, weights, t * groups * STEP, bias, offsets, factors, column,
                out, first_row * channels + first + column, channels, min(TILE_WIDTH, columns - column),
                zero, low, high,
            )  # fmt: skip


class Blocking(NamedTuple):
    """How a product is divided into tasks; no result depends on it."""

    rows: int
    column_tasks: int


@lru_cache(1024)
def blocking(rows: int, window: Window, columns: int, workers: int) -> Blocking:
    """Choose blocks of rows that stay in cache, then as many tasks as keep all threads busy to the end."""
    rows, depth = max(rows, 1), max(up(window.size, BYTES), BYTES)
    most = max(TILE_ROWS, min(MOST_ROWS, MOST_PANEL // depth // TILE_ROWS * TILE_ROWS))
    row_tasks = math.ceil(rows / most)
    if row_tasks < 4 * workers:  # few: give every thread the same, in whole tiles
        even = math.ceil(rows / (math.ceil(row_tasks / workers) * workers))
        most = min(most, up(even, TILE_ROWS))
        row_tasks = math.ceil(rows / most)
    tiles = math.ceil(columns / TILE_WIDTH)
    column_tasks = min(tiles, math.ceil(2 * workers / row_tasks)) if row_tasks < 2 * workers else 1
    return Blocking(most, column_tasks)


def product_scratch(images: int, window: Window, columns: int) -> Spec:
    """Return the scratch that `multiply_window` needs: one row per thread."""
    block = blocking(images * window.outputs, window, columns, threads())
    panels = up(window.size, BYTES) * (block.rows + TILE_ROWS)
    return Spec((threads(), up(panels + line_size(window), BYTES)), "int8")


def packed_specs(depth: int, columns: int) -> tuple[Spec, Spec]:
    """Return the form of a right factor (columns, depth): its bytes, and what is added to every column's sum."""
    return Spec((up(depth, GROUP) * up(columns, TILE_WIDTH),), "int8"), Spec((columns,), "int32")


@parallel_jit
def pack_weights(w: Array, start: int, columns: int, depth: int, zero: int, packed: Array, offsets: Array) -> None:
    """Pack rows w[start + column · depth …] and correct for the zero point of x and for its move by 128."""
    groups = (depth + GROUP - 1) // GROUP
    for t in prange((columns + TILE_WIDTH - 1) // TILE_WIDTH):
        for e in range(TILE_WIDTH):
            column, total = t * TILE_WIDTH + e, 0
            for d in range(groups * GROUP):
                value = 0
                if column < columns and d < depth:
                    value = w[start + column * depth + d]
                total += value
                packed[t * groups * STEP + d // GROUP * STEP + e * GROUP + d % GROUP] = value
            if column < columns:
                offsets[column] = -(128 + zero) * total


def multiply_window(
    x: Array, window: Window, weights: Array, offsets: Array, columns: int, out: Array, first: int, scratch: Array,
    bias: Array, scaling: Rescaling,
) -> None:  # fmt: skip
    """Out (…, channels), from channel `first` on = stored(patches of x · packed weights + bias); an empty bias is none.

    x is (n, height, width, channels) of the window; all are C-contiguous.
    """
    if out.size == 0:
        return
    images = x.size // max(window.height * window.width * window.channels, 1) or 1
    block = blocking(images * window.outputs, window, columns, threads())
    zero, factors = scaling.zero_point, np.ascontiguousarray(scaling.factors[..., first : first + columns])
    _multiply_window(
        x.reshape(-1), tuple(window), images, scaling.input_zeros[0], weights, columns, bias, offsets,
        factors, out.reshape(-1), out.shape[-1], first, zero, float(scaling.low - zero), float(scaling.high - zero),
        block.rows, block.column_tasks, scratch,
    )  # fmt: skip
