"""Matrix products of 16-bit numbers with bytes, under convolutions and dense layers: two products of bytes.

    x = 256 · upper + lower, upper signed, lower in 0 … 255:   Σ x · w = 256 · Σ upper · w + Σ lower · w

Both sums are exact in int32, and their sum in int64. The halves lie in images of their own (`split`), which are
gathered, and multiplied by packed weights, as those of int8_gemm.py are; one load of weights serves both.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edge_sdk.kernels.cpu.int8_gemm import GROUP, STEP, TILE_COLUMNS, TILE_WIDTH, blocking, up
from edge_sdk.kernels.cpu.int8_gemm import TILE_ROWS as BLOCK_STEP
from edge_sdk.kernels.cpu.int8_patches import line_size, pack_patches
from edge_sdk.kernels.cpu.integer_tile import integer_tile
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.kernels.cpu.simd import LANES
from edge_sdk.kernels.cpu.simd_halves import store_halves, store_some_halves
from edge_sdk.kernels.cpu.simd_integers import (
    BYTES,
    broadcast_group,
    dot4,
    load_integers,
    load_some_integers,
    splat_integer,
)
from edge_sdk.kernels.cpu.simd_rescaling import load_factors, rescale_halves
from edge_sdk.quantization.arithmetic import Rescaling
from edge_sdk.spec import Array, Spec

# Half as many rows as a tile of bytes has: each has two sums.
TILE_ROWS = {16: 7, 8: 3, 4: 3}[LANES]
DEEPEST = (2**31 - 1) // (255 * 127)
"""How many products of bytes an int32 holds the sum of, whatever they are."""
CHUNK = 16 << 10  # numbers that one task splits


@parallel_jit
def split(x: Array, upper: Array, lower: Array) -> None:
    """Write the upper and lower bytes of int16 numbers; lower ones are moved by -128, to be signed bytes."""
    for task in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(task * CHUNK, min(x.size, (task + 1) * CHUNK)):
            upper[i] = x[i] >> 8
            lower[i] = (x[i] & 255) - 128


def _make_product(rows: int, columns: int) -> Callable[..., None]:
    """Compile a tile of `rows` × `columns` vectors: its sums over the depth, and what is stored of them."""

    @jit
    def product(
        panels: Array, first: int, lower: int, panel: int, groups: int, weights: Array, weight: int, offsets: Array,
        starts: Array, factors: Array, column: int, out: Array, to: int, row: int, height: int, width: int,
        low: int, high: int,
    ) -> None:  # fmt: skip
        """out[to + m · row + e] = stored(Σ + starts) for m < height, e < width of the tile."""
        uppers, lowers = integer_tile(rows, columns), integer_tile(rows, columns)
        for n in range(columns):
            offset = load_some_integers(offsets, column + n * LANES, width - n * LANES)
            for m in range(rows):
                uppers[m, n], lowers[m, n] = offset, splat_integer(0)
        for group in range(groups):
            place = first + group // LANES * panel + group % LANES * GROUP
            for m in range(rows):
                above = broadcast_group(panels, place + m * BYTES)
                below = broadcast_group(panels, place + m * BYTES + lower)
                for n in range(columns):
                    factor = load_integers(weights, weight + n * BYTES)
                    uppers[m, n] = dot4(uppers[m, n], above, factor)
                    lowers[m, n] = dot4(lowers[m, n], below, factor)
            weight += STEP
        lowest, highest = splat_integer(low), splat_integer(high)
        for n in range(columns):
            count = width - n * LANES
            scale, start = (
                load_factors(factors, column + n * LANES, count),
                load_factors(starts, column + n * LANES, count),
            )
            for m in range(rows):
                if m < height:
                    value = rescale_halves(uppers[m, n], lowers[m, n], start, scale, lowest, highest)
                    if count >= LANES:
                        store_halves(out, to + m * row + n * LANES, value)
                    else:
                        store_some_halves(out, to + m * row + n * LANES, value, count)

    return product


_tall = _make_product(TILE_ROWS, TILE_COLUMNS)
_single = _make_product(1, TILE_COLUMNS)
_narrow = _make_product(TILE_ROWS, 1)


@jit
def _multiply_rows(
    count: int, panels: Array, lower: int, panel: int, groups: int, weights: Array, weight: int, offsets: Array,
    starts: Array, factors: Array, column: int, out: Array, to: int, row: int, width: int, low: int, high: int,
) -> None:  # fmt: skip
    """Cover `count` rows with tiles. Panels are read, but nothing is written, up to TILE_ROWS - 1 rows beyond."""
    m = 0
    while m < count:
        left = count - m
        if width <= LANES:
            _narrow(
                panels, m * BYTES, lower, panel, groups, weights, weight, offsets, starts, factors, column,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += TILE_ROWS
        elif left == 1:
            _single(
                panels, m * BYTES, lower, panel, groups, weights, weight, offsets, starts, factors, column,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += 1
        else:
            _tall(
                panels, m * BYTES, lower, panel, groups, weights, weight, offsets, starts, factors, column,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += TILE_ROWS


@parallel_jit
def _multiply_window(
    upper: Array, lower: Array, geometry: tuple[int, ...], images: int, weights: Array, columns: int, offsets: Array,
    starts: Array, factors: Array, out: Array, channels: int, first: int, low: int, high: int, block_rows: int,
    column_tasks: int, scratch: Array,
) -> None:  # fmt: skip
    window = Window(*geometry)
    rows, depth = images * window.out_height * window.out_width, window.rows * window.columns * window.depth
    groups = (depth + GROUP - 1) // GROUP
    depth_panels = (depth + BYTES - 1) // BYTES
    tiles = (columns + TILE_WIDTH - 1) // TILE_WIDTH
    panel = (block_rows + BLOCK_STEP) * BYTES
    half = depth_panels * panel
    row_tasks = (rows + block_rows - 1) // block_rows
    for task in prange(row_tasks * column_tasks):
        mine = scratch[thread_id()]
        first_row, share = task // column_tasks * block_rows, task % column_tasks
        count = min(block_rows, rows - first_row)
        pack_patches(upper, window, 0, first_row, count, mine, panel, 2 * half)
        pack_patches(lower, window, -128, first_row, count, mine[half:], panel, half)
        for t in range(tiles * share // column_tasks, tiles * (share + 1) // column_tasks):
            column = t * TILE_WIDTH
            _multiply_rows(
                count, mine, half, panel, groups, weights, t * groups * STEP, offsets, starts, factors, column,
                out, first_row * channels + first + column, channels, min(TILE_WIDTH, columns - column), low, high,
            )  # fmt: skip


def halves_scratch(x: Spec) -> tuple[Spec, Spec]:
    """Return the scratch for both halves of an image."""
    return Spec((x.elements,), "int8"), Spec((x.elements,), "int8")


def product_scratch(images: int, window: Window, columns: int) -> Spec:
    """Return the scratch that `multiply_window` needs: one row per thread."""
    block = blocking(images * window.outputs, window, columns, threads())
    panels = 2 * up(window.size, BYTES) * (block.rows + BLOCK_STEP)
    return Spec((threads(), up(panels + line_size(window), BYTES)), "int8")


def multiply_window(
    halves: tuple[Array, Array], window: Window, weights: Array, offsets: Array, columns: int, out: Array, first: int,
    scratch: Array, starts: Array, scaling: Rescaling,
) -> None:  # fmt: skip
    """Out (…, channels), from channel `first` on = stored(patches of x · packed weights + starts).

    `halves` are those of x, (n, height, width, channels) of the window; all are C-contiguous.
    """
    if out.size == 0:
        return
    images = math.prod(halves[0].shape) // max(window.height * window.width * window.channels, 1) or 1
    block = blocking(images * window.outputs, window, columns, threads())
    factors = np.ascontiguousarray(scaling.factors[..., first : first + columns])
    _multiply_window(
        *halves, tuple(window), images, weights, columns, offsets, starts[first : first + columns], factors,
        out.reshape(-1), out.shape[-1], first, scaling.low, scaling.high, block.rows, block.column_tasks, scratch,
    )  # fmt: skip
