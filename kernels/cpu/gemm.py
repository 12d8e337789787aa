"""Register-blocked matrix products under convolutions and dense layers.

The left factor is what outputs see of an image (patches.py), packed into panels by blocks of rows, just before use:

    panels[depth / LANES][row][LANES]

The right factor (weights) is packed once for all tasks, or once for all runs when it is constant:

    weights[column / TILE_WIDTH][depth, up to whole vectors][TILE_WIDTH]

A tile of results stays in registers over the whole depth. Every element is summed in the order of the depth, so the
bytes depend neither on the number of threads nor on how the work is divided among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, line_size, pack_patches
from edge_sdk.kernels.cpu.simd import (
    LANES,
    at_least,
    at_most,
    broadcast,
    fma,
    load,
    load_some,
    splat,
    store,
    store_some,
    zero,
)
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array, Spec

# The tile of results kept in registers, rows × vectors: with one row of weights and one broadcast it must fit the 32
# registers of AVX-512 and NEON, or the 16 of AVX2. The half tile is for what is left when rows run out.
TILE_ROWS, TILE_COLUMNS = {16: (14, 2), 8: (6, 2), 4: (8, 2)}[LANES]
HALF_ROWS = {16: 8, 8: 4, 4: 4}[LANES]
TILE_WIDTH = TILE_COLUMNS * LANES

MOST_PANEL = 128 << 10  # elements of a packed block of rows: half of a 1 MiB second-level cache
PRODUCT_RATE = 0.9  # of the peak, measured on large products
MOST_ROWS = 8 * TILE_ROWS  # of a block


def up(value: int, step: int) -> int:
    """Round up to a multiple of `step`."""
    return -(-value // step) * step


def make_multiply_tile(rows: int, columns: int) -> Callable[..., None]:
    """Compile the inner loop of every product for a tile of `rows` × `columns` vectors."""

    @jit
    def multiply_tile(
        panels: Array, first: int, panel: int, depth_panels: int, weights: Array, weight: int, step: int, sums: Any
    ) -> None:
        """Sums += rows of panels from panels[first] on · rows of weights from weights[weight] on, `step` apart."""
        for _ in range(depth_panels):
            for k in range(LANES):
                for m in range(rows):
                    factor = broadcast(panels, first + m * LANES + k)
                    for n in range(columns):
                        sums[m, n] = fma(factor, load(weights, weight + n * LANES), sums[m, n])
                weight += step
            first += panel

    return multiply_tile


multiply_tall = make_multiply_tile(TILE_ROWS, TILE_COLUMNS)
multiply_half = make_multiply_tile(HALF_ROWS, TILE_COLUMNS)


def make_product(  # noqa: C901 - it counts the function inside
    rows: int, multiply_tile: Callable[..., None]
) -> Callable[..., None]:
    """Compile a tile's product with its start, the bias, and its end: a residual, limits, and stores that fit."""

    @jit
    def product(  # noqa: C901 - all in one, for the tile to stay in registers
        panels: Array, first: int, panel: int, depth_panels: int, weights: Array, weight: int, bias: Array, column: int,
        residual: Array, out: Array, to: int, row: int, height: int, width: int, low: float, high: float,
    ) -> None:  # fmt: skip
        """out[to + m · row + e] = clip(bias[column + e] + sum + residual) for m < height, e < width of the tile."""
        sums = tile(rows, TILE_COLUMNS)
        for n in range(TILE_COLUMNS):
            start = zero()
            if bias.size > 0:
                start = load_some(bias, column + n * LANES, width - n * LANES)
            for m in range(rows):
                sums[m, n] = start
        multiply_tile(panels, first, panel, depth_panels, weights, weight, TILE_WIDTH, sums)
        lowest, highest = splat(low), splat(high)
        if height >= rows and width == TILE_WIDTH:
            for m in range(rows):
                for n in range(TILE_COLUMNS):
                    place = to + m * row + n * LANES
                    value = sums[m, n]
                    if residual.size > 0:
                        value = value + load(residual, place)
                    store(out, place, at_most(highest, at_least(lowest, value)))
        else:
            for m in range(rows):
                if m < height:
                    for n in range(TILE_COLUMNS):
                        place, count = to + m * row + n * LANES, width - n * LANES
                        if count > 0:
                            value = sums[m, n]
                            if residual.size > 0:
                                value = value + load_some(residual, place, count)
                            store_some(out, place, at_most(highest, at_least(lowest, value)), count)

    return product


_product_tall = make_product(TILE_ROWS, multiply_tall)
_product_half = make_product(HALF_ROWS, multiply_half)


@jit
def multiply_rows(
    count: int, panels: Array, first: int, panel: int, depth_panels: int, weights: Array, weight: int, bias: Array,
    column: int, residual: Array, out: Array, to: int, row: int, width: int, low: float, high: float,
) -> None:  # fmt: skip
    """Cover `count` rows with tiles. Panels are read, but nothing is written, up to TILE_ROWS - 1 rows beyond."""
    m = 0
    while m < count:
        left = count - m
        if left <= HALF_ROWS or left == 2 * HALF_ROWS:
            _product_half(
                panels, first + m * LANES, panel, depth_panels, weights, weight, bias, column, residual,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += HALF_ROWS
        else:
            _product_tall(
                panels, first + m * LANES, panel, depth_panels, weights, weight, bias, column, residual,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += TILE_ROWS


class Grid(NamedTuple):
    """Where the outputs go: into every step-th pixel of images (height, width, channels), from one channel on."""

    height: int
    width: int
    channels: int
    first: int
    top: int
    left: int
    step_y: int
    step_x: int


@parallel_jit
def _multiply_window(
    x: Array, geometry: tuple[int, ...], images: int, weights: Array, columns: int, bias: Array, residual: Array,
    out: Array, place: tuple[int, ...], low: float, high: float, block_rows: int, column_tasks: int, scratch: Array,
) -> None:  # fmt: skip
    # Numba takes tuples of numbers fast, named ones slowly: they get their names inside.
    window, grid = Window(*geometry), Grid(*place)
    per_image = window.out_height * window.out_width
    rows, depth = images * per_image, window.rows * window.columns * window.depth
    depth_panels = (depth + LANES - 1) // LANES
    groups = (columns + TILE_WIDTH - 1) // TILE_WIDTH
    panel = (block_rows + TILE_ROWS) * LANES
    row_tasks = (rows + block_rows - 1) // block_rows
    # Whole images one after the other: rows of results are neighbours in memory.
    dense = grid.step_y == 1 and grid.step_x == 1 and per_image % (grid.height * grid.width) == 0
    for task in prange(row_tasks * column_tasks):
        mine = scratch[thread_id()]
        first_row, share = task // column_tasks * block_rows, task % column_tasks
        count = min(block_rows, rows - first_row)
        products = depth_panels * panel
        pack_patches(x, window, first_row, count, 0, depth_panels, mine, panel, products + block_rows * TILE_WIDTH)
        for g in range(groups * share // column_tasks, groups * (share + 1) // column_tasks):
            column = g * TILE_WIDTH
            width = min(TILE_WIDTH, columns - column)
            weight = column * depth_panels * LANES
            if dense:
                multiply_rows(
                    count, mine, 0, panel, depth_panels, weights, weight, bias, column, residual,
                    out, first_row * grid.channels + grid.first + column, grid.channels, width, low, high,
                )  # fmt: skip
                continue
            multiply_rows(
                count, mine, 0, panel, depth_panels, weights, weight, bias, column, bias[:0],
                mine, products, TILE_WIDTH, width, low, high,
            )  # fmt: skip
            for r in range(count):
                image, rest = divmod(first_row + r, per_image)
                i = grid.top + grid.step_y * (rest // window.out_width)
                j = grid.left + grid.step_x * (rest % window.out_width)
                to = ((image * grid.height + i) * grid.width + j) * grid.channels + grid.first + column
                for n in range(TILE_COLUMNS):
                    if width > n * LANES:
                        value = load(mine, products + r * TILE_WIDTH + n * LANES)
                        store_some(out, to + n * LANES, value, width - n * LANES)


class Blocking(NamedTuple):
    """How a product is divided into tasks; no result depends on it."""

    rows: int
    column_tasks: int

    @classmethod
    def of(cls, rows: int, window: Window, columns: int) -> Blocking:
        """Choose blocks of rows that stay in cache, then as many tasks as keep all threads busy to the end."""
        rows, depth, workers = max(rows, 1), max(up(window.size, LANES), LANES), threads()
        most = max(TILE_ROWS, min(MOST_ROWS, MOST_PANEL // depth // TILE_ROWS * TILE_ROWS))
        row_tasks = math.ceil(rows / most)
        if row_tasks < 4 * workers:  # few: give every thread the same, in whole tiles where that costs nothing
            even = math.ceil(rows / (math.ceil(row_tasks / workers) * workers))
            most = min(most, max(HALF_ROWS, even if even < TILE_ROWS else up(even, TILE_ROWS)))
            row_tasks = math.ceil(rows / most)
        groups = math.ceil(columns / TILE_WIDTH)
        column_tasks = min(groups, math.ceil(2 * workers / row_tasks)) if row_tasks < 2 * workers else 1
        return cls(most, column_tasks)


def product_scratch(images: int, window: Window, columns: int) -> Spec:
    """Return the scratch that `multiply_window` needs: one row per thread."""
    block = Blocking.of(images * window.outputs, window, columns)
    panels = up(window.size, LANES) * (block.rows + TILE_ROWS)
    return Spec((threads(), up(panels + block.rows * TILE_WIDTH + line_size(window) + TILE_WIDTH, LANES)))


def packed_size(depth: int, columns: int) -> int:
    """Elements of a packed right factor (depth, columns)."""
    return up(depth, LANES) * up(columns, TILE_WIDTH)


def product_cost(rows: int, depth: int, columns: int, packed_once: bool) -> float:
    """Estimate the seconds of `multiply_window`."""
    work = 2 * up(rows, HALF_ROWS) * up(depth, LANES) * up(columns, TILE_WIDTH)
    packing = 0 if packed_once else 2 * BYTES * depth * columns
    return seconds(work, PRODUCT_RATE, BYTES * depth * columns + packing, BYTES * rows * (2 * depth + columns))


def multiply_window(
    x: Array, window: Window, weights: Array, columns: int, out: Array, grid: Grid, scratch: Array, bias: Array,
    residual: Array, limits: tuple[Any, Any],
) -> None:  # fmt: skip
    """Out = clip(patches of x · packed weights + bias + residual, *limits); an empty bias or residual is none.

    x is (n, height, width, channels) of the window, out (n, height, width, channels) of the grid; all are C-contiguous.
    """
    if out.size == 0:
        return
    images = x.size // max(window.height * window.width * window.channels, 1) or 1
    block = Blocking.of(images * window.outputs, window, columns)
    _multiply_window(
        x.reshape(-1), tuple(window), images, weights, columns, bias, residual.reshape(-1), out.reshape(-1),
        tuple(grid), *limits, block.rows, block.column_tasks, scratch,
    )  # fmt: skip
