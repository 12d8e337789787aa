"""The products of in_place.py that gather statistics of their results from the tiles in registers.

Tasks are the parts of the statistics. Of a tile that is not whole, rows are read again, from the cache.
"""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.cpu.gemm import TILE_ROWS
from edge_sdk.kernels.cpu.in_place import Lines, copy_lines, multiply_and_gather, multiply_outputs
from edge_sdk.kernels.cpu.jit import parallel_jit, prange, prepared, thread_id
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.kernels.cpu.row_statistics import add_rows, open_part
from edge_sdk.kernels.cpu.simd import LANES
from edge_sdk.kernels.cpu.streaming import is_streamed
from edge_sdk.spec import Array

LOW, HIGH = np.float32(-np.inf), np.float32(np.inf)


@parallel_jit
def _multiply_matrix(
    x: Array, rows: int, depth: int, weights: Array, columns: int, bias: Array, out: Array, streamed: bool,
    bounds: Array, statistics: Array,
) -> None:  # fmt: skip
    packed = (depth + LANES - 1) // LANES * LANES
    for part in prange(len(bounds) - 1):
        begin, end, at = bounds[part], bounds[part + 1], part * 3 * columns
        open_part(statistics, at, columns, end - begin)
        for row in range(begin, end, TILE_ROWS):
            if row + TILE_ROWS <= end:
                multiply_and_gather(
                    x, row * depth, depth, 0, 1, depth, weights, packed, columns, bias, bias[:0],
                    out, row * columns, columns, TILE_ROWS, LOW, HIGH, streamed, statistics, at,
                    np.float32(row - begin),
                )  # fmt: skip
            else:
                # Rows of the next part, or of the last tile, come out the same whoever computes them.
                first = min(row, rows - TILE_ROWS)
                multiply_outputs(
                    x, first * depth, depth, 0, 1, depth, weights, packed, columns, bias, bias[:0],
                    out, first * columns, columns, TILE_ROWS, LOW, HIGH, streamed, statistics, 0, np.float32(0),
                )  # fmt: skip
                add_rows(out, row, end, columns, row - begin, statistics, at)


@parallel_jit
def _multiply_lines(
    x: Array, geometry: tuple[int, ...], weights: Array, columns: int, bias: Array, out: Array, line: int,
    streamed: bool, bounds: Array, statistics: Array, scratch: Array,
) -> None:  # fmt: skip
    window = Window(*geometry)
    run, step, width = window.columns * window.channels, window.stride_x * window.channels, window.out_width
    packed = (window.rows * run + LANES - 1) // LANES * LANES
    for part in prange(len(bounds) - 1):
        begin, end, at = bounds[part], bounds[part + 1], part * 3 * columns
        open_part(statistics, at, columns, end - begin)
        mine = scratch[thread_id()]
        for task in range(begin // width, end // width):
            copy_lines(x, window, task, line, mine)
            for q in range(0, width, TILE_ROWS):
                row = task * width + q
                if q + TILE_ROWS <= width:
                    multiply_and_gather(
                        mine, q * step, step, line, window.rows, run, weights, packed, columns, bias, bias[:0],
                        out, row * columns, columns, TILE_ROWS, LOW, HIGH, streamed, statistics, at,
                        np.float32(row - begin),
                    )  # fmt: skip
                else:
                    multiply_outputs(
                        mine, q * step, step, line, window.rows, run, weights, packed, columns, bias, bias[:0],
                        out, row * columns, columns, width - q, LOW, HIGH, streamed, statistics, 0, np.float32(0),
                    )  # fmt: skip
                    add_rows(out, row, (task + 1) * width, columns, row - begin, statistics, at)


def multiply_matrix(
    x: Array, rows: int, depth: int, weights: Array, columns: int, out: Array, bias: Array, bounds: Array,
    statistics: Array,
) -> Call:  # fmt: skip
    """Out (rows, columns) = x (rows, depth) · packed weights + bias, and its statistics (part, 3, columns).

    Rows are TILE_ROWS or more; `bounds` (part + 1) says at which rows parts end.
    """
    return prepared(
        _multiply_matrix, x.reshape(-1), rows, depth, weights, columns, bias, out.reshape(-1), is_streamed(out), bounds,
        statistics.reshape(-1),
    )  # fmt: skip


def multiply_lines(
    x: Array, window: Window, weights: Array, columns: int, out: Array, scratch: Array, bias: Array, bounds: Array,
    statistics: Array,
) -> Call:  # fmt: skip
    """Out (n, height, width, columns) = patches of x · packed weights + bias, and its statistics (part, 3, columns)."""
    return prepared(
        _multiply_lines, x.reshape(-1), tuple(window), weights, columns, bias, out.reshape(-1),
        Lines.of(window).length, is_streamed(out), bounds, statistics.reshape(-1), scratch,
    )  # fmt: skip
