"""Statistics of rows (row, channel): counts, means and Σ (x - mean)² of parts, which are merged at the end.

    statistics[part][count, mean, Σ (x - mean)²][channel]

Deviations are taken from the mean of a few rows, those that are in registers or in cache; such blocks are merged as in
Chan, Golub, LeVeque (1979), equation 2.1, where nothing cancels however far the mean is from zero. Parts are cut by
shapes and their rows added in order, whatever the number of threads.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.cpu.jit import inlined_jit, jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, fma, load, load_some, splat, store, store_some, zero
from edge_sdk.ops.statistics import PARTS, part_step
from edge_sdk.spec import Array

BLOCK_ROWS = 8  # rows whose deviations are taken from their own mean
LEAST_PARTS = 8


@inlined_jit
def get(x, place, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Load a vector of which `count` lanes exist."""
    return load(x, place) if count >= LANES else load_some(x, place, count)


@inlined_jit
def put(x, place, value, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Store those lanes of a vector that exist."""
    if count >= LANES:
        store(x, place, value)
    else:
        store_some(x, place, value, count)


@inlined_jit
def merge(center, squares, share, before, channels, statistics, at, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Merge the mean and Σ (x - mean)² of a block of one vector of channels into those at statistics[at].

    `share` is the block's part of all rows so far and its own, `before` the number of those before.
    """
    mean = get(statistics, at + channels, count)
    shift = center - mean
    squares = fma(shift * shift, splat(share * before), squares)
    put(statistics, at + channels, fma(shift, splat(share), mean), count)
    put(statistics, at + 2 * channels, get(statistics, at + 2 * channels, count) + squares, count)


@inlined_jit
def _add_block(
    x: Array, place: int, rows: int, channels: int, count: int, share: float, before: float, statistics: Array, at: int
) -> None:
    """Merge a block of rows of one vector of channels, `count` lanes of which exist."""
    sums, more = zero(), zero()
    for row in range(0, rows - 1, 2):
        sums = sums + get(x, place + row * channels, count)
        more = more + get(x, place + (row + 1) * channels, count)
    if rows % 2 == 1:
        sums = sums + get(x, place + (rows - 1) * channels, count)
    center = (sums + more) * splat(np.float32(1.0) / np.float32(rows))
    squares, more = zero(), zero()
    for row in range(0, rows - 1, 2):
        a, b = get(x, place + row * channels, count) - center, get(x, place + (row + 1) * channels, count) - center
        squares, more = fma(a, a, squares), fma(b, b, more)
    if rows % 2 == 1:
        a = get(x, place + (rows - 1) * channels, count) - center
        squares = fma(a, a, squares)
    merge(center, squares + more, share, before, channels, statistics, at, count)


@inlined_jit
def _add_channels(x: Array, row: int, rows: int, channels: int, before: int, statistics: Array, at: int) -> None:
    share = np.float32(rows) / np.float32(before + rows)
    whole = channels // LANES * LANES
    for c in range(0, whole, LANES):
        place = row * channels + c
        _add_block(x, place, rows, channels, LANES, share, np.float32(before), statistics, at + c)
    if whole < channels:
        place, rest = row * channels + whole, channels - whole
        _add_block(x, place, rows, channels, rest, share, np.float32(before), statistics, at + whole)


@jit
def add_rows(x: Array, first: int, last: int, channels: int, before: int, statistics: Array, at: int) -> None:
    """Add rows `first` … `last` of x to the part at statistics[at], which has `before` rows so far."""
    row = first
    while row + BLOCK_ROWS <= last:
        _add_channels(x, row, BLOCK_ROWS, channels, before + row - first, statistics, at)
        row += BLOCK_ROWS
    if row < last:
        _add_channels(x, row, last - row, channels, before + row - first, statistics, at)


@jit
def open_part(statistics: Array, at: int, channels: int, rows: int) -> None:
    """Start the part at statistics[at], which is to have so many rows."""
    for e in range(at, at + channels):
        statistics[e] = rows
    for e in range(at + channels, at + 3 * channels):
        statistics[e] = 0


@parallel_jit
def _gather(x: Array, channels: int, bounds: Array, statistics: Array) -> None:
    for part in prange(len(bounds) - 1):
        first, last, at = bounds[part], bounds[part + 1], part * 3 * channels
        open_part(statistics, at, channels, last - first)
        add_rows(x, first, last, channels, 0, statistics, at)


def gather(x: Array, bounds: Array, statistics: Array) -> None:
    """Statistics (part, 3, c) of x (…, c) in a pass of its own; `bounds` (part + 1) says at which rows parts end."""
    _gather(x.reshape(-1), x.shape[-1], bounds, statistics.reshape(-1))


def compute_and_gather(compute: Call, y: Array, bounds: Array, statistics: Array) -> None:
    """Make the call that computes y, then gather its statistics."""
    compute()
    gather(y, bounds, statistics)


@lru_cache(1024)
def even_bounds(rows: int) -> Array:
    """Return the ends of parts of equal shares of rows."""
    return np.arange(PARTS + 1) * rows // PARTS


def are_many(lines: int, width: int) -> bool:
    """Whether statistics of so many image rows come in parts enough to keep some threads busy: work is cut as they."""
    return lines >= LEAST_PARTS * part_step(width)


def unevenness(lines: int, width: int) -> float:
    """How much longer two threads take because they share whole steps of parts."""
    steps = -(-lines // part_step(width))
    return -(-steps // 2) * 2 / steps


def merged(statistics: Array) -> tuple[Array, Array]:
    """Return mean and variance (c) of all rows in float64."""
    counts, means, squares = statistics.astype(np.float64).transpose(1, 0, 2)
    share = counts / counts.sum(axis=0)
    mean = (share * means).sum(axis=0)
    return mean, squares.sum(axis=0) / counts.sum(axis=0) + (share * (means - mean) ** 2).sum(axis=0)
