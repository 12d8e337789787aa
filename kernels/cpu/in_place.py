"""Products whose left factor is read where it lies: rows of a matrix, or lines of an image with few channels.

What an output sees is then `runs` runs of neighbouring numbers, `line` elements apart: one run for a row of a matrix,
and one for each row of taps where the pixels of a window are neighbours. The output beside it sees the same `step`
elements further on. Nothing is gathered, so that small depths, where gathering costs as
much as multiplying, run at full speed.

The weights are packed as for gemm.py, and sums are formed in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.gemm import PRODUCT_RATE, TILE_COLUMNS, TILE_ROWS, TILE_WIDTH, up
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, prepared, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.kernels.cpu.row_statistics import merge
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
    stream,
    zero,
)
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.kernels.cpu.streaming import is_streamed
from edge_sdk.spec import Array, Spec

WHOLE_TILE = np.float32(TILE_ROWS)
TASK_TILES = 8  # of rows of a matrix
PAGE = 1024  # elements: rows that are a multiple of it apart evict one another from the first-level cache
MOST_LINES = 128 << 10  # elements of the copied lines of one output row: half of a 1 MiB second-level cache


def _make_product(  # noqa: C901 - it counts the function inside
    columns: int, *, gathers: bool = False
) -> Callable[..., None]:
    """Compile a tile of TILE_ROWS outputs × `columns` vectors, with bias, residual and limits.

    Where it `gathers`, the mean and Σ (y - mean)² of the tile, which must be whole, are merged into statistics.
    """

    @jit
    def product(  # noqa: C901 - all in one, for the tile to stay in registers
        x: Array, first: int, step: int, line: int, runs: int, run: int, weights: Array, weight: int, bias: Array,
        column: int, residual: Array, out: Array, to: int, row: int, height: int, width: int, low: float, high: float,
        streamed: bool, statistics: Array, part: int, before: float,
    ) -> None:  # fmt: skip
        """out[to + m · row + e] = clip(bias[column + e] + sum + residual) for m < height, e < width of the tile.

        `before` rows are in the part at statistics[part] already.
        """
        sums = tile(TILE_ROWS, columns)
        for n in range(columns):
            start = zero()
            if bias.size > 0:
                start = load_some(bias, column + n * LANES, width - n * LANES)
            for m in range(TILE_ROWS):
                sums[m, n] = start
        for _ in range(runs):
            for k in range(run):
                for m in range(TILE_ROWS):
                    factor = broadcast(x, first + m * step + k)
                    for n in range(columns):
                        sums[m, n] = fma(factor, load(weights, weight + n * LANES), sums[m, n])
                weight += TILE_WIDTH
            first += line
        lowest, highest = splat(low), splat(high)
        whole = width == columns * LANES
        for m in range(TILE_ROWS):
            if m < height:
                for n in range(columns):
                    place, count = to + m * row + n * LANES, width - n * LANES
                    value = sums[m, n]
                    if residual.size > 0:
                        value = value + (load(residual, place) if whole else load_some(residual, place, count))
                    value = at_most(highest, at_least(lowest, value))
                    if streamed:
                        stream(out, place, value)
                    elif whole:
                        store(out, place, value)
                    else:
                        store_some(out, place, value, count)
        if gathers:
            share = WHOLE_TILE / (before + WHOLE_TILE)
            for n in range(columns):
                total, more = zero(), zero()
                for m in range(0, TILE_ROWS, 2):
                    total, more = total + sums[m, n], more + sums[m + 1, n]
                center = (total + more) * splat(np.float32(1.0) / WHOLE_TILE)
                squares, more = zero(), zero()
                for m in range(0, TILE_ROWS, 2):
                    a, b = sums[m, n] - center, sums[m + 1, n] - center
                    squares, more = fma(a, a, squares), fma(b, b, more)
                place, count = part + column + n * LANES, width - n * LANES
                merge(center, squares + more, share, before, row, statistics, place, count)

    return product


_product_wide = _make_product(TILE_COLUMNS)
_product_narrow = _make_product(1)
_product_wide_gathering = _make_product(TILE_COLUMNS, gathers=True)
_product_narrow_gathering = _make_product(1, gathers=True)


def _make_multiply_outputs(wide: Callable[..., None], narrow: Callable[..., None]) -> Callable[..., None]:
    @jit
    def multiply_outputs(
        x: Array, first: int, step: int, line: int, runs: int, run: int, weights: Array, depth: int, columns: int,
        bias: Array, residual: Array, out: Array, to: int, row: int, height: int, low: float, high: float,
        streamed: bool, statistics: Array, part: int, before: float,
    ) -> None:  # fmt: skip
        """One tile of outputs against all columns of the weights, whose packed depth is `depth`."""
        for column in range(0, columns, TILE_WIDTH):
            width = min(TILE_WIDTH, columns - column)
            if width > LANES:
                wide(
                    x, first, step, line, runs, run, weights, column * depth, bias, column, residual, out, to + column,
                    row, height, width, low, high, streamed and width == TILE_WIDTH, statistics, part, before,
                )  # fmt: skip
            else:
                narrow(
                    x, first, step, line, runs, run, weights, column * depth, bias, column, residual, out, to + column,
                    row, height, width, low, high, streamed and width == LANES, statistics, part, before,
                )  # fmt: skip

    return multiply_outputs


multiply_outputs = _make_multiply_outputs(_product_wide, _product_narrow)
multiply_and_gather = _make_multiply_outputs(_product_wide_gathering, _product_narrow_gathering)


@parallel_jit
def _multiply_matrix(
    x: Array, rows: int, depth: int, weights: Array, columns: int, bias: Array, residual: Array, out: Array,
    low: float, high: float, tiles_per_task: int, streamed: bool,
) -> None:  # fmt: skip
    """Out (rows, columns) = clip(x (rows, depth) · weights + bias + residual)."""
    packed = (depth + LANES - 1) // LANES * LANES
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for task in prange((tiles + tiles_per_task - 1) // tiles_per_task):
        for t in range(task * tiles_per_task, min((task + 1) * tiles_per_task, tiles)):
            # The last tile is moved back to end with the matrix: what it computes twice is the same.
            first = min(t * TILE_ROWS, rows - TILE_ROWS)
            multiply_outputs(
                x, first * depth, depth, 0, 1, depth, weights, packed, columns, bias, residual,
                out, first * columns, columns, TILE_ROWS, low, high, streamed, bias[:0], 0, np.float32(0),
            )  # fmt: skip


@jit
def _copy_line(x: Array, start: int, first: int, count: int, width: int, out: Array, to: int) -> None:
    """out[to + e] = x[start + first + e] for e < count, and zero where first + e is not in 0 … width."""
    e = 0
    while e < count:
        left = first + e
        if left >= 0 and left + LANES <= width:
            store(out, to + e, load(x, start + left))
            e += LANES
        elif left < 0 or left >= width:
            out[to + e] = 0.0
            e += 1
        else:
            out[to + e] = x[start + left]
            e += 1


@jit
def copy_lines(x: Array, window: Window, task: int, line: int, mine: Array) -> None:
    """Copy what a row of outputs sees, the `task`th of all images, with zeros beside and between images."""
    row = window.width * window.channels
    image, p = task // window.out_height, task % window.out_height
    for i in range(window.rows):
        y = p * window.stride_y + window.top + i * window.dilation_y
        if 0 <= y < window.height:
            start = (image * window.height + y) * row
            _copy_line(x, start, window.left * window.channels, line, row, mine, i * line)
        else:
            for e in range(0, line, LANES):
                store(mine, i * line + e, zero())


@parallel_jit
def _multiply_lines(
    x: Array, geometry: tuple[int, ...], images: int, weights: Array, columns: int, bias: Array, residual: Array,
    out: Array, low: float, high: float, line: int, streamed: bool, scratch: Array,
) -> None:  # fmt: skip
    window = Window(*geometry)
    run, step = window.columns * window.channels, window.stride_x * window.channels
    packed = (window.rows * run + LANES - 1) // LANES * LANES
    for task in prange(images * window.out_height):
        mine = scratch[thread_id()]
        copy_lines(x, window, task, line, mine)
        for q in range(0, window.out_width, TILE_ROWS):
            multiply_outputs(
                mine, q * step, step, line, window.rows, run, weights, packed, columns, bias, residual,
                out, (task * window.out_width + q) * columns, columns, window.out_width - q, low, high,
                streamed, bias[:0], 0, np.float32(0),
            )  # fmt: skip


class Lines(NamedTuple):
    """The copied rows of one output row."""

    length: int
    """Elements of the copied rows of one output row, up to whole vectors."""
    scratch: int

    @classmethod
    def of(cls, window: Window) -> Lines:
        """Work out the lines of a window."""
        cells = up(window.out_width, TILE_ROWS)  # the last tile reads on, without using it
        length = up(((cells - 1) * window.stride_x + window.columns) * window.channels, LANES)
        return cls(length, (window.rows + 1) * length)


def is_matrix(window: Window, images: int) -> bool:
    """Whether outputs see whole rows of a matrix that can be read in place."""
    one = (window.rows, window.columns, window.height, window.out_height) == (1, 1, 1, 1)
    whole = window.depth == window.channels and window.width == window.out_width
    return one and whole and images == 1 and window.width >= TILE_ROWS and window.channels % PAGE != 0


def has_lines(window: Window) -> bool:
    """Whether outputs see runs of neighbouring pixels."""
    whole = window.depth == window.channels and window.dilation_x == 1 and window.columns > 1
    return whole and window.out_width > 0 and Lines.of(window).scratch <= MOST_LINES


def lines_scratch(window: Window) -> Spec:
    """Return the scratch that `multiply_lines` needs: a row per thread."""
    return Spec((threads(), Lines.of(window).scratch))


def matrix_cost(rows: int, depth: int, columns: int, packed_once: bool) -> float:
    """Estimate the seconds of `multiply_matrix`."""
    return _cost(rows, depth, columns, packed_once, BYTES * rows * columns)


def lines_cost(images: int, window: Window, columns: int, packed_once: bool) -> float:
    """Estimate the seconds of `multiply_lines`."""
    rows = images * window.out_height
    moved = BYTES * rows * (window.rows * Lines.of(window).length + window.out_width * columns)
    return _cost(rows * up(window.out_width, TILE_ROWS), window.size, columns, packed_once, moved)


def _cost(rows: int, depth: int, columns: int, packed_once: bool, moved: int) -> float:
    weights = BYTES * depth * columns * (1 if packed_once else 3)
    return seconds(2 * rows * depth * up(columns, LANES), PRODUCT_RATE, weights, moved)


def multiply_matrix(
    x: Array, rows: int, depth: int, weights: Array, columns: int, out: Array, bias: Array, residual: Array,
    limits: tuple[Any, Any],
) -> Call:  # fmt: skip
    """Out (rows, columns) = clip(x (rows, depth) · packed weights + bias + residual); rows are TILE_ROWS or more."""
    tiles = -(-rows // TILE_ROWS)
    per_task = max(1, min(TASK_TILES, tiles // (4 * threads())))
    return prepared(
        _multiply_matrix, x.reshape(-1), rows, depth, weights, columns, bias, residual.reshape(-1), out.reshape(-1),
        *limits, per_task, is_streamed(out),
    )  # fmt: skip


def multiply_lines(
    x: Array, window: Window, weights: Array, columns: int, out: Array, scratch: Array, bias: Array, residual: Array,
    limits: tuple[Any, Any],
) -> Call:  # fmt: skip
    """Out (n, height, width, columns) = clip(patches of x · packed weights + bias + residual, *limits)."""
    images = x.size // (window.height * window.width * window.channels)
    return prepared(
        _multiply_lines, x.reshape(-1), tuple(window), images, weights, columns, bias, residual.reshape(-1),
        out.reshape(-1), *limits, Lines.of(window).length, is_streamed(out), scratch,
    )  # fmt: skip
