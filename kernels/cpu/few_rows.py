"""Dense layers on few examples: the weights are the bulk of the data, so they are read once, as they lie."""

from __future__ import annotations

import math
from typing import Any

from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.gemm import (
    HALF_ROWS,
    TILE_COLUMNS,
    TILE_ROWS,
    TILE_WIDTH,
    multiply_half,
    multiply_tall,
    up,
)
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, pack_patches, whole_rows
from edge_sdk.kernels.cpu.simd import LANES, fma, lane_sum, load, load_some, store, store_some, zero
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array, Spec

FEW = 32  # rows; with more, packing the weights pays
# y: tiles of dot products along the depth, a chunk of it at a time.
DOT_ROWS, DOT_COLUMNS = {16: (8, 3), 8: (4, 2), 4: (8, 2)}[LANES]
DOT_RATE = 0.77  # of the peak, measured: each load of weights serves eight rows at most
CHUNK = 2048
DOT_BLOCK = 8 * DOT_COLUMNS  # outputs of one task
STREAMS = 4  # rows of w that are read side by side for a single example
# dx: tiles of sums over outputs, for a strip of the depth at a time.
STRIP = 512
BLOCK_PANELS = 4  # outputs, in vectors, whose weights are read for a whole strip before the next ones are


@jit
def _dot_tile(
    x: Array, first: int, rows: int, w: Array, second: int, columns: int, stride: int, count: int, sums: Array, at: int
) -> None:
    """Sums tile += the products of up to DOT_ROWS rows of x and DOT_COLUMNS rows of w, `count` elements of each.

    Rows are `stride` elements apart in both; the lanes stay apart until the depth is done.
    """
    own = tile(DOT_ROWS, DOT_COLUMNS)
    for m in range(DOT_ROWS):
        for n in range(DOT_COLUMNS):
            own[m, n] = load(sums, at + (m * DOT_COLUMNS + n) * LANES)
    # A row that is not there is replaced by the first; its sums are never read.
    for e in range(0, count, LANES):
        weights = tile(DOT_COLUMNS, 1)
        for n in range(DOT_COLUMNS):
            place = second + (n if n < columns else 0) * stride + e
            weights[n, 0] = load(w, place) if e + LANES <= count else load_some(w, place, count - e)
        for m in range(DOT_ROWS):
            place = first + (m if m < rows else 0) * stride + e
            value = load(x, place) if e + LANES <= count else load_some(x, place, count - e)
            for n in range(DOT_COLUMNS):
                own[m, n] = fma(value, weights[n, 0], own[m, n])
    for m in range(DOT_ROWS):
        for n in range(DOT_COLUMNS):
            store(sums, at + (m * DOT_COLUMNS + n) * LANES, own[m, n])


@jit
def _dot_streams(x: Array, w: Array, first: int, rows: int, depth: int, sums: Array) -> None:
    """Sums (STREAMS, LANES) = the products of x and `rows` rows of w, element by element.

    Several rows of w are read side by side: one alone keeps too few requests to memory in flight.
    """
    own = tile(STREAMS, 1)
    for n in range(STREAMS):
        own[n, 0] = zero()
    whole = depth // LANES * LANES
    # A row that is not there is replaced by the first; its sums are never read.
    for e in range(0, whole, LANES):
        value = load(x, e)
        for n in range(STREAMS):
            own[n, 0] = fma(value, load(w, first + (n if n < rows else 0) * depth + e), own[n, 0])
    if whole < depth:
        value = load_some(x, whole, depth - whole)
        for n in range(STREAMS):
            place = first + (n if n < rows else 0) * depth + whole
            own[n, 0] = fma(value, load_some(w, place, depth - whole), own[n, 0])
    for n in range(STREAMS):
        store(sums, n * LANES, own[n, 0])


@parallel_jit
def _multiply_row(
    x: Array, w: Array, bias: Array, y: Array, columns: int, depth: int, low: float, high: float, scratch: Array
) -> None:
    """Y (columns) = clip(x (depth) · w (columns, depth)ᵀ + bias): no faster than w comes from memory."""
    for task in prange((columns + DOT_BLOCK - 1) // DOT_BLOCK):
        mine = scratch[thread_id()]
        end = min((task + 1) * DOT_BLOCK, columns)
        for first in range(task * DOT_BLOCK, end, STREAMS):
            rows = min(STREAMS, end - first)
            _dot_streams(x, w, first * depth, rows, depth, mine)
            for n in range(rows):
                total = lane_sum(load(mine, n * LANES))
                if bias.size > 0:
                    total += bias[first + n]
                total = max(total, low)
                y[first + n] = min(total, high)


@parallel_jit
def _multiply_by_rows(
    x: Array, w: Array, bias: Array, y: Array, rows: int, columns: int, depth: int, low: float, high: float,
    scratch: Array,
) -> None:  # fmt: skip
    """Y (rows, columns) = clip(x (rows, depth) · w (columns, depth)ᵀ + bias)."""
    tile_size = DOT_ROWS * DOT_COLUMNS * LANES
    row_tiles = (rows + DOT_ROWS - 1) // DOT_ROWS
    for task in prange((columns + DOT_BLOCK - 1) // DOT_BLOCK):
        mine = scratch[thread_id()]
        first = task * DOT_BLOCK
        here = min(DOT_BLOCK, columns - first)
        tiles = (here + DOT_COLUMNS - 1) // DOT_COLUMNS
        for e in range(0, tiles * row_tiles * tile_size, LANES):
            store(mine, e, zero())
        for begin in range(0, depth, CHUNK):
            count = min(CHUNK, depth - begin)
            for t in range(tiles):
                column = first + t * DOT_COLUMNS
                for m in range(row_tiles):
                    at = (t * row_tiles + m) * tile_size
                    left, right = m * DOT_ROWS * depth + begin, column * depth + begin
                    some, few = min(DOT_ROWS, rows - m * DOT_ROWS), min(DOT_COLUMNS, columns - column)
                    _dot_tile(x, left, some, w, right, few, depth, count, mine, at)
        for column in range(here):
            for row in range(rows):
                t = column // DOT_COLUMNS * row_tiles + row // DOT_ROWS
                place = t * tile_size + (row % DOT_ROWS * DOT_COLUMNS + column % DOT_COLUMNS) * LANES
                total = lane_sum(load(mine, place))
                if bias.size > 0:
                    total += bias[first + column]
                total = max(total, low)
                y[row * columns + first + column] = min(total, high)


def multiply_by_rows_cost(rows: int, depth: int, columns: int) -> float:
    """Estimate the seconds of `multiply_by_rows`."""
    tiled = rows if rows == 1 else up(rows, DOT_ROWS)
    return seconds(2 * tiled * depth * columns, DOT_RATE, BYTES * depth * columns, BYTES * rows * columns)


def multiply_by_rows_scratch(rows: int) -> Spec:
    """Return the scratch that `multiply_by_rows` needs."""
    return Spec((threads(), math.ceil(rows / DOT_ROWS) * DOT_ROWS * DOT_BLOCK * LANES))


def multiply_by_rows(x: Array, w: Array, out: Array, scratch: Array, bias: Array, limits: tuple[Any, Any]) -> None:
    """Out (rows, columns) = clip(x (rows, depth) · w (columns, depth)ᵀ + bias, *limits); an empty bias is none."""
    (rows, depth), columns = x.shape, len(w)
    if rows == 1:
        _multiply_row(x.reshape(-1), w.reshape(-1), bias, out.reshape(-1), columns, depth, *limits, scratch)
        return
    _multiply_by_rows(x.reshape(-1), w.reshape(-1), bias, out.reshape(-1), rows, columns, depth, *limits, scratch)


@jit
def _add_rows(
    count: int, panels: Array, first: int, panel: int, depth_panels: int, weights: Array, weight: int, step: int,
    sums: Array, at: int,
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
            multiply_half(panels, first + m * LANES, panel, depth_panels, weights, weight, step, half)
            for i in range(HALF_ROWS):
                for n in range(TILE_COLUMNS):
                    store(sums, at + (m + i) * STRIP + n * LANES, half[i, n])
            m += HALF_ROWS
        else:
            tall = tile(TILE_ROWS, TILE_COLUMNS)
            for i in range(TILE_ROWS):
                for n in range(TILE_COLUMNS):
                    tall[i, n] = load(sums, at + (m + i) * STRIP + n * LANES)
            multiply_tall(panels, first + m * LANES, panel, depth_panels, weights, weight, step, tall)
            for i in range(TILE_ROWS):
                for n in range(TILE_COLUMNS):
                    store(sums, at + (m + i) * STRIP + n * LANES, tall[i, n])
            m += TILE_ROWS


@parallel_jit
def _multiply_by_columns(
    x: Array,
    geometry: tuple[int, ...],
    w: Array,
    y: Array,
    rows: int,
    outputs: int,
    columns: int,
    panels: Array,
    scratch: Array,
) -> None:
    """Y (rows, columns) = x (rows, outputs) · w (outputs, columns)."""
    window = Window(*geometry)
    depth_panels, panel = (outputs + LANES - 1) // LANES, (rows + TILE_ROWS) * LANES
    pack_patches(x, window, 0, rows, 0, depth_panels, panels, panel, depth_panels * panel)
    for task in prange((columns + STRIP - 1) // STRIP):
        mine = scratch[thread_id()]
        strip = task * STRIP
        wide = min(STRIP, columns - strip)
        packed = (rows + TILE_ROWS) * STRIP
        for e in range(0, packed, LANES):
            store(mine, e, zero())
        for block in range(0, depth_panels, BLOCK_PANELS):
            here = min(BLOCK_PANELS, depth_panels - block)
            whole = (block + here) * LANES <= outputs
            for column in range(0, wide, TILE_WIDTH):
                source, step = (block * LANES) * columns + strip + column, columns
                if whole and column + TILE_WIDTH <= wide:
                    _add_rows(rows, panels, block * panel, panel, here, w, source, step, mine, column)
                    continue
                for k in range(here * LANES):
                    for n in range(TILE_COLUMNS):
                        value = zero()
                        if block * LANES + k < outputs:
                            value = load_some(w, source + k * step + n * LANES, wide - column - n * LANES)
                        store(mine, packed + k * TILE_WIDTH + n * LANES, value)
                _add_rows(rows, panels, block * panel, panel, here, mine, packed, TILE_WIDTH, mine, column)
        for row in range(rows):
            for e in range(0, wide, LANES):
                store_some(y, row * columns + strip + e, load(mine, row * STRIP + e), wide - e)


def multiply_by_columns_scratch(rows: int, outputs: int) -> tuple[Spec, Spec]:
    """Return the scratch that `multiply_by_columns` needs."""
    panels = up(outputs, LANES) * (rows + TILE_ROWS) + outputs + 2 * LANES
    own = (rows + TILE_ROWS) * STRIP + BLOCK_PANELS * LANES * TILE_WIDTH
    return Spec((up(panels, LANES),)), Spec((threads(), own))


def multiply_by_columns(x: Array, w: Array, out: Array, scratch: tuple[Array, ...]) -> None:
    """Out (rows, columns) = x (rows, outputs) · w (outputs, columns)."""
    (rows, outputs), columns = x.shape, w.shape[1]
    flat = (x.reshape(-1), tuple(whole_rows(rows, outputs)), w.reshape(-1), out.reshape(-1))
    _multiply_by_columns(*flat, rows, outputs, columns, *scratch)
