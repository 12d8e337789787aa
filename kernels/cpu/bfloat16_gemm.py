"""Matrix products as in gemm.py whose factors are rounded to bfloat16: twice as many products an instruction.

Numbers are rounded while they are packed; memory, sums and results stay float32. The depth is grouped by two:

    panels[depth / PAIR][row][LANES]          pairs of neighbours
    weights[column / TILE_WIDTH][depth / 2, up to whole panels][TILE_WIDTH]

Every element is summed in the order of the depth, so the bytes depend neither on the number of threads nor on how the
work is divided among them.
"""

from __future__ import annotations

from typing import Any

from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.gemm import (
    HALF_ROWS,
    PRODUCT_RATE,
    TILE_COLUMNS,
    TILE_ROWS,
    TILE_WIDTH,
    Blocking,
    Grid,
    make_product,
    up,
)
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, line_size, pack_patches
from edge_sdk.kernels.cpu.simd import LANES, broadcast, load, load_some, store, store_some, zero
from edge_sdk.kernels.cpu.simd_bfloat16 import PAIR, dot_pairs, lane_pairs, neighbours
from edge_sdk.kernels.cpu.simd_tile import tile, transpose
from edge_sdk.spec import Array, Spec


def _make_multiply_tile(rows: int) -> Any:
    """Compile the inner loop for a tile of `rows` × TILE_COLUMNS vectors."""

    @jit
    def multiply_tile(
        panels: Array, first: int, panel: int, depth_panels: int, weights: Array, weight: int, step: int, sums: Any
    ) -> None:
        """Sums += rows of panels from panels[first] on · rows of weights from weights[weight] on, `step` apart."""
        for _ in range(depth_panels):
            for k in range(LANES):
                for m in range(rows):
                    factor = broadcast(panels, first + m * LANES + k)
                    for n in range(TILE_COLUMNS):
                        sums[m, n] = dot_pairs(factor, load(weights, weight + n * LANES), sums[m, n])
                weight += step
            first += panel

    return multiply_tile


multiply_tall = _make_multiply_tile(TILE_ROWS)
multiply_half = _make_multiply_tile(HALF_ROWS)
_product_tall = make_product(TILE_ROWS, multiply_tall)
_product_half = make_product(HALF_ROWS, multiply_half)


@jit
def _multiply_rows(
    count: int, panels: Array, panel: int, depth_panels: int, weights: Array, weight: int, bias: Array, column: int,
    residual: Array, out: Array, to: int, row: int, width: int, low: float, high: float,
) -> None:  # fmt: skip
    """Cover `count` rows with tiles. Panels are read, but nothing is written, up to TILE_ROWS - 1 rows beyond."""
    m = 0
    while m < count:
        left = count - m
        if left <= HALF_ROWS or left == 2 * HALF_ROWS:
            _product_half(
                panels, m * LANES, panel, depth_panels, weights, weight, bias, column, residual,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += HALF_ROWS
        else:
            _product_tall(
                panels, m * LANES, panel, depth_panels, weights, weight, bias, column, residual,
                out, to + m * row, row, left, width, low, high,
            )  # fmt: skip
            m += TILE_ROWS


@jit
def _pack_run(x: Array, source: int, count: int, panels: Array, to: int, panel: int) -> int:
    """Pack `count` consecutive numbers, and zeros up to a whole panel; returns the place of the panel after them."""
    for e in range(0, count, PAIR):
        if e + PAIR <= count:
            store(panels, to, neighbours(load(x, source + e), load(x, source + e + LANES)))
        else:
            first, second = load_some(x, source + e, count - e), load_some(x, source + e + LANES, count - e - LANES)
            store(panels, to, neighbours(first, second))
        to += panel
    return to


@jit
def pixel_of(w: Window, row: int) -> int:
    """Where the first number lies that output `row` sees through a window of one pixel, or -1 outside the image."""
    image, rest = divmod(row, w.out_height * w.out_width)
    i = rest // w.out_width * w.stride_y + w.top
    j = rest % w.out_width * w.stride_x + w.left
    if 0 <= i < w.height and 0 <= j < w.width:
        return ((image * w.height + i) * w.width + j) * w.channels + w.first
    return -1


@jit
def pack_pairs(x: Array, w: Window, first_row: int, count: int, panels: Array, panel: int, line: Array) -> None:
    """Gather what outputs first_row … first_row + count see of the flat images x; `line` is free space for a row."""
    size = w.rows * w.columns * w.depth
    single, whole = w.rows == 1 and w.columns == 1, (size + LANES - 1) // LANES
    for r in range(count):
        to = r * LANES
        source = pixel_of(w, first_row + r) if single else -1
        if source >= 0:
            _pack_run(x, source, w.depth, panels, to, panel)
        elif w.depth % PAIR == 0:
            image, rest = divmod(first_row + r, w.out_height * w.out_width)
            top = rest // w.out_width * w.stride_y + w.top
            left = rest % w.out_width * w.stride_x + w.left
            for tap in range(w.rows * w.columns):
                i, j = top + tap // w.columns * w.dilation_y, left + tap % w.columns * w.dilation_x
                if 0 <= i < w.height and 0 <= j < w.width:
                    source = ((image * w.height + i) * w.width + j) * w.channels + w.first
                    to = _pack_run(x, source, w.depth, panels, to, panel)
                else:
                    for _ in range(0, w.depth, PAIR):
                        store(panels, to, zero())
                        to += panel
        else:
            pack_patches(x, w, first_row + r, 1, 0, whole, line, LANES, whole * LANES)
            _pack_run(line, 0, whole * LANES, panels, to, panel)


@parallel_jit
def _multiply_window(
    x: Array, geometry: tuple[int, ...], images: int, weights: Array, columns: int, bias: Array, residual: Array,
    out: Array, place: tuple[int, ...], low: float, high: float, block_rows: int, column_tasks: int, scratch: Array,
) -> None:  # fmt: skip
    window, grid = Window(*geometry), Grid(*place)
    per_image = window.out_height * window.out_width
    rows, depth = images * per_image, window.rows * window.columns * window.depth
    depth_panels = (depth + PAIR - 1) // PAIR
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
        pack_pairs(x, window, first_row, count, mine, panel, mine[products + block_rows * TILE_WIDTH :])
        for g in range(groups * share // column_tasks, groups * (share + 1) // column_tasks):
            column = g * TILE_WIDTH
            width = min(TILE_WIDTH, columns - column)
            weight = column * depth_panels * LANES
            if dense:
                _multiply_rows(
                    count, mine, panel, depth_panels, weights, weight, bias, column, residual,
                    out, first_row * grid.channels + grid.first + column, grid.channels, width, low, high,
                )  # fmt: skip
                continue
            _multiply_rows(
                count, mine, panel, depth_panels, weights, weight, bias, column, bias[:0],
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


def _blocking(rows: int, window: Window, columns: int) -> Blocking:
    """Divide as for float32, by the memory that pairs take."""
    return Blocking.of(rows, window._replace(rows=1, columns=1, depth=up(window.size, PAIR) // 2), columns)


def product_scratch(images: int, window: Window, columns: int) -> Spec:
    """Return the scratch that `multiply_window` needs: one row per thread."""
    block = _blocking(images * window.outputs, window, columns)
    panels = up(window.size, PAIR) // 2 * (block.rows + TILE_ROWS)
    line = up(window.size, LANES) + line_size(window)
    return Spec((threads(), up(panels + block.rows * TILE_WIDTH + line + TILE_WIDTH, LANES)))


def packed_size(depth: int, columns: int) -> int:
    """Elements of a packed right factor (depth, columns)."""
    return up(depth, PAIR) // 2 * up(columns, TILE_WIDTH)


def product_cost(rows: int, depth: int, columns: int, packed_once: bool) -> float:
    """Estimate the seconds of `multiply_window`."""
    work = up(rows, HALF_ROWS) * up(depth, PAIR) * up(columns, TILE_WIDTH)
    packing = 0 if packed_once else 1.5 * BYTES * depth * columns
    return seconds(work, PRODUCT_RATE, BYTES * depth * columns / 2 + packing, BYTES * rows * (1.5 * depth + columns))


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
    block = _blocking(images * window.outputs, window, columns)
    _multiply_window(
        x.reshape(-1), tuple(window), images, weights, columns, bias, residual.reshape(-1), out.reshape(-1),
        tuple(grid), *limits, block.rows, block.column_tasks, scratch,
    )  # fmt: skip


@parallel_jit
def pack_columns(x: Array, columns: int, depth: int, packed: Array) -> None:
    """Pack the factor whose element (d, column) is x[column · depth + d]: weights (outputs, depth)."""
    panels = (depth + PAIR - 1) // PAIR
    for task in prange((columns + TILE_WIDTH - 1) // TILE_WIDTH * panels):
        group, p = task // panels, task % panels
        wanted = depth - p * PAIR
        for v in range(0, TILE_WIDTH, LANES):
            block = tile(LANES, 1)
            for j in range(LANES):
                block[j, 0] = zero()
                source = (group * TILE_WIDTH + v + j) * depth + p * PAIR
                if group * TILE_WIDTH + v + j < columns:
                    if wanted >= PAIR:
                        block[j, 0] = neighbours(load(x, source), load(x, source + LANES))
                    else:
                        second = load_some(x, source + LANES, wanted - LANES)
                        block[j, 0] = neighbours(load_some(x, source, wanted), second)
            transpose(block)
            for i in range(LANES):
                store(packed, (task * LANES + i) * TILE_WIDTH + v, block[i, 0])


@parallel_jit
def pack_rows(x: Array, starts: Array, rows: int, columns: int, stride: int, packed: Array) -> None:
    """Pack the factor whose element (i · rows + d, column) is x[starts[i] + d · stride + column]."""
    depth = len(starts) * rows
    pairs = (depth + PAIR - 1) // PAIR * LANES
    for group in prange((columns + TILE_WIDTH - 1) // TILE_WIDTH):
        base, width = group * pairs * TILE_WIDTH, min(TILE_WIDTH, columns - group * TILE_WIDTH)
        for pair in range(pairs):
            d = 2 * pair
            for v in range(0, TILE_WIDTH, LANES):
                first = second = zero()
                if d < depth:
                    source = starts[d // rows] + d % rows * stride + group * TILE_WIDTH + v
                    first = load_some(x, source, width - v)
                if d + 1 < depth:
                    source = starts[(d + 1) // rows] + (d + 1) % rows * stride + group * TILE_WIDTH + v
                    second = load_some(x, source, width - v)
                store(packed, base + pair * TILE_WIDTH + v, lane_pairs(first, second))
