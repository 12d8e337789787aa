"""Depthwise convolutions: direct loops over pixels and taps, a vector of channels at a time.

The forward pass and the input gradient are the same loop: each result is a sum over taps that advance by a fixed step,
read from a source that advances by another. Tables say where they start for every row and column of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, prepared
from edge_sdk.kernels.cpu.row_statistics import add_rows, open_part
from edge_sdk.kernels.cpu.simd import LANES, at_least, at_most, fma, load, splat, store, zero
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.ops.statistics import WHOLE
from edge_sdk.spec import Array

Geometry: TypeAlias = tuple[int, int, int, int, int, int]
"""Of the taps of one output: rows, elements from one to the next in x and in w; the same for columns."""
NEIGHBOURS = {16: 8, 8: 4, 4: 8}[LANES]  # outputs of a row whose sums are formed side by side at stride 1
BLOCK = 4  # vectors of channels whose sums are formed side by side


def forward_taps(cells: int, extent: int, taps: int, stride: int, before: int, dilation: int) -> tuple[Array, int, int]:
    """For each output of one axis: first tap, the input position it reads, how many taps lie inside; and the steps."""
    start = np.arange(cells) * stride - before
    first = np.maximum(-(start // dilation), 0)
    last = np.minimum(-((start - extent) // dilation), taps)
    return _table(first, start + first * dilation, last - first), 1, dilation


def backward_taps(
    cells: int, extent: int, taps: int, stride: int, before: int, dilation: int
) -> tuple[Array, int, int]:
    """For each input of one axis: the first tap that met it, at which output, how many taps did; and their steps."""
    # Tap i meets position p at output (p + before - i · dilation) / stride, when that is whole and inside.
    tap = np.arange(taps)
    reach = (np.arange(cells) + before)[:, np.newaxis] - tap * dilation
    met = (reach % stride == 0) & (reach >= 0) & (reach // stride < extent)
    first = met.argmax(axis=1)
    output = np.take_along_axis(reach, first[:, np.newaxis], axis=1)[:, 0] // stride
    step = stride // math.gcd(stride, dilation)
    return _table(first, output, met.sum(axis=1)), step, -(step * dilation // stride)


def column_taps(cells: int, extent: int, taps: int, stride: int, before: int, dilation: int) -> Array:
    """For each tap of one axis: the first output at which it meets the image, the position there, and how many do."""
    start = np.arange(taps) * dilation - before
    first = np.maximum(-(start // stride), 0)
    last = np.minimum(-((start - extent) // stride), cells)
    return _table(first, start + first * stride, last - first)


def _table(first: Array, source: Array, count: Array) -> Array:
    return np.stack([first, source, np.maximum(count, 0)], axis=1).astype(np.int64)


def _make_sum_vectors(vectors: int) -> Callable[..., None]:
    @jit
    def sum_vectors(
        x: Array, seen: int, w: Array, weight: int, geometry: Geometry, bias: Array, e: int, y: Array, to: int,
        low: float, high: float,
    ) -> None:  # fmt: skip
        """Sum the taps of one output for `vectors` vectors of channels, from channel e on."""
        rows, x_row, w_row, columns, x_column, w_column = geometry
        sums = tile(vectors, 1)
        for v in range(vectors):
            sums[v, 0] = load(bias, e + v * LANES) if bias.size > 0 else zero()
        for i in range(rows):
            at, by = seen + i * x_row + e, weight + i * w_row + e
            for _ in range(columns):
                for v in range(vectors):
                    sums[v, 0] = fma(load(x, at + v * LANES), load(w, by + v * LANES), sums[v, 0])
                at += x_column
                by += w_column
        lowest, highest = splat(low), splat(high)
        for v in range(vectors):
            store(y, to + e + v * LANES, at_most(highest, at_least(lowest, sums[v, 0])))

    return sum_vectors


_sum_block = _make_sum_vectors(BLOCK)
_sum_vector = _make_sum_vectors(1)


@jit
def _sum_element(
    x: Array, seen: int, w: Array, weight: int, geometry: Geometry, total: float, low: float, high: float
) -> float:
    rows, x_row, w_row, columns, x_column, w_column = geometry
    for i in range(rows):
        for j in range(columns):
            total += x[seen + i * x_row + j * x_column] * w[weight + i * w_row + j * w_column]
    total = max(total, low)
    return min(total, high)


@jit
def _sum_output(
    x: Array, w: Array, bias: Array, y: Array, source: int, weight: int, to: int, geometry: Geometry, channels: int,
    begin: int, low: float, high: float,
) -> None:  # fmt: skip
    """Sum the taps of one output for channels `begin` … `channels`."""
    e = begin
    while e < channels:
        if e + BLOCK * LANES <= channels:
            _sum_block(x, source, w, weight, geometry, bias, e, y, to, low, high)
            e += BLOCK * LANES
        elif e + LANES <= channels:
            _sum_vector(x, source, w, weight, geometry, bias, e, y, to, low, high)
            e += LANES
        else:
            start = bias[e] if bias.size > 0 else np.float32(0)
            y[to + e] = _sum_element(x, source + e, w, weight + e, geometry, start, low, high)
            e += 1


def _make_sum_neighbours(taps: int, stride: int, direction: int, outputs: int) -> Callable[..., None]:
    """Compile the loop for `outputs` neighbours in a row, which share most of what they see."""
    seen = (outputs - 1) * stride + taps

    @jit
    def sum_neighbours(
        x: Array, source: int, x_row: int, w: Array, weight: int, w_row: int, rows: int, bias: Array, e: int,
        channels: int, y: Array, to: int, low: float, high: float,
    ) -> None:  # fmt: skip
        sums = tile(outputs, 1)
        start = load(bias, e) if bias.size > 0 else zero()
        for m in range(outputs):
            sums[m, 0] = start
        at, by = source + e, weight + e
        if direction < 0:
            at -= (taps - 1) * channels
        for _ in range(rows):
            values = tile(seen, 1)
            for k in range(seen):
                values[k, 0] = load(x, at + k * channels)
            for j in range(taps):
                factor = load(w, by + j * channels)
                for m in range(outputs):
                    k = m * stride + (j if direction > 0 else taps - 1 - j)
                    sums[m, 0] = fma(values[k, 0], factor, sums[m, 0])
            at += x_row
            by += w_row
        lowest, highest = splat(low), splat(high)
        for m in range(outputs):
            store(y, to + m * channels + e, at_most(highest, at_least(lowest, sums[m, 0])))

    return sum_neighbours


@jit
def _whole_columns(columns: Array, taps: int, neighbours: int) -> tuple[int, int]:
    """From which output of a row to which all taps are inside, in whole numbers of neighbours."""
    first, last = 0, len(columns)
    while first < last and columns[first, 2] < taps:
        first += 1
    while last > first and columns[last - 1, 2] < taps:
        last -= 1
    return first, last - (last - first) % neighbours


def _make_sum_row(taps: int, stride: int, direction: int) -> Callable[..., None]:
    """Compile a row for neighbouring taps: many outputs at a time where all taps are inside the image."""
    neighbours = NEIGHBOURS // stride
    sum_neighbours = _make_sum_neighbours(taps, stride, direction, neighbours)

    @jit
    def sum_row(
        x: Array, w: Array, bias: Array, y: Array, task: int, size: tuple[int, int], channels: int, width: int,
        rows: Array, columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int], low: float, high: float,
        first: int, last: int,
    ) -> None:  # fmt: skip
        """One row of outputs, the `task`th of all images; in columns `first` … `last` all taps are inside."""
        h, wide = size
        p, q = len(rows), len(columns)
        x_row, w_row = steps[0] * wide * channels, tap_steps[0] * width * channels
        image, row = task // p, task % p
        line = (image * h + rows[row, 1]) * wide
        column = 0
        while column < q:
            source, weight = (line + columns[column, 1]) * channels, rows[row, 0] * width * channels
            to, e = (task * q + column) * channels, 0
            inside = first <= column < last
            if inside:
                while e + LANES <= channels:
                    sum_neighbours(
                        x, source, x_row, w, weight, w_row, rows[row, 2], bias, e, channels, y, to, low, high
                    )
                    e += LANES
            for m in range(neighbours if inside else 1):
                if e < channels:
                    geometry = (
                        rows[row, 2], x_row, w_row, columns[column + m, 2], steps[1] * channels,
                        tap_steps[1] * channels,
                    )  # fmt: skip
                    begin = (line + columns[column + m, 1]) * channels
                    of_taps = weight + columns[column + m, 0] * channels
                    _sum_output(x, w, bias, y, begin, of_taps, to + m * channels, geometry, channels, e, low, high)
            column += neighbours if inside else 1

    return sum_row


def _make_sum_taps(taps: int, stride: int, direction: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile sum_taps for neighbouring taps, without and with statistics."""
    neighbours = NEIGHBOURS // stride
    sum_row = _make_sum_row(taps, stride, direction)

    @parallel_jit
    def sum_row_taps(
        x: Array, w: Array, bias: Array, y: Array, images: int, size: tuple[int, int], channels: int, width: int,
        rows: Array, columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int], low: float, high: float,
    ) -> None:  # fmt: skip
        first, last = _whole_columns(columns, taps, neighbours)
        for task in prange(images * len(rows)):
            sum_row(x, w, bias, y, task, size, channels, width, rows, columns, tap_steps, steps, low, high, first, last)

    @parallel_jit
    def sum_and_gather(
        x: Array, w: Array, bias: Array, y: Array, size: tuple[int, int], channels: int, width: int, rows: Array,
        columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int], low: float, high: float, bounds: Array,
        statistics: Array,
    ) -> None:  # fmt: skip
        """The same, and the statistics of some rows of outputs at a time while they are in cache."""
        first, last = _whole_columns(columns, taps, neighbours)
        q = len(columns)
        for part in prange(len(bounds) - 1):
            begin, end, at = bounds[part], bounds[part + 1], part * 3 * channels
            open_part(statistics, at, channels, end - begin)
            added = begin
            for task in range(begin // q, end // q):
                sum_row(
                    x, w, bias, y, task, size, channels, width, rows, columns, tap_steps, steps, low, high, first, last
                )
                done = (task + 1) * q
                if done - added >= WHOLE or done == end:
                    add_rows(y, added, done, channels, added - begin, statistics, at)
                    added = done

    return sum_row_taps, sum_and_gather


_SUM_TAPS = {
    (taps, stride, direction): _make_sum_taps(taps, stride, direction)
    for taps in (3, 5)
    for stride, direction in ((1, 1), (2, 1), (1, -1))
}


def has_neighbours(width: int, stride: int, steps: tuple[int, int]) -> bool:
    """Whether outputs of a row are summed side by side: `steps` are a tap's, in taps and in pixels."""
    return steps[0] == 1 and (width, stride, steps[1]) in _SUM_TAPS


def sum_taps(
    x: Array, w: Array, bias: Array, y: Array, images: int, size: tuple[int, int], channels: int, width: int,
    rows: Array, columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int], low: float, high: float,
    stride: int,
) -> Call:  # fmt: skip
    """Y = activation(bias + Σ x · w), one filter a channel: x of `size` (h, w), w with `width` taps a row.

    `stride` is how far what one output sees lies from what the next one does, or 0 when it varies.
    """
    compiled = _sum_taps
    if has_neighbours(width, stride, (tap_steps[1], steps[1])):
        compiled = _SUM_TAPS[width, stride, steps[1]][0]
    return prepared(compiled, x, w, bias, y, images, size, channels, width, rows, columns, tap_steps, steps, low, high)


def sum_taps_and_gather(
    x: Array, w: Array, bias: Array, y: Array, size: tuple[int, int], channels: int, width: int, rows: Array,
    columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int], low: float, high: float, stride: int,
    bounds: Array, statistics: Array,
) -> Call:  # fmt: skip
    """sum_taps where it `has_neighbours`, and statistics (part, 3, channels) of y; `bounds` says where parts end."""
    gathering = _SUM_TAPS[width, stride, steps[1]][1]
    return prepared(
        gathering, x, w, bias, y, size, channels, width, rows, columns, tap_steps, steps, low, high, bounds, statistics
    )


@parallel_jit
def _sum_taps(
    x: Array, w: Array, bias: Array, y: Array, images: int, size: tuple[int, int], channels: int, width: int,
    rows: Array, columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int], low: float, high: float,
) -> None:  # fmt: skip
    """sum_taps for any taps."""
    h, wide = size
    p, q = len(rows), len(columns)
    for task in prange(images * p):
        image, row = task // p, task % p
        for column in range(q):
            source = ((image * h + rows[row, 1]) * wide + columns[column, 1]) * channels
            weight = (rows[row, 0] * width + columns[column, 0]) * channels
            geometry = (
                rows[row, 2], steps[0] * wide * channels, tap_steps[0] * width * channels,
                columns[column, 2], steps[1] * channels, tap_steps[1] * channels,
            )  # fmt: skip
            to = (task * q + column) * channels
            _sum_output(x, w, bias, y, source, weight, to, geometry, channels, 0, low, high)


def sum_taps_multiplied(*arguments: Any) -> Call:
    """As sum_taps with several filters a channel: filter e reads channel e // x_multiplier into e // y_multiplier."""
    return prepared(_sum_taps_multiplied, *arguments)


@parallel_jit
def _sum_taps_multiplied(
    x: Array, w: Array, bias: Array, y: Array, images: int, size: tuple[int, int], x_multiplier: int, y_multiplier: int,
    outputs: int, width: int, rows: Array, columns: Array, tap_steps: tuple[int, int], steps: tuple[int, int],
    low: float, high: float,
) -> None:  # fmt: skip
    """As sum_taps with several filters a channel: filter e reads channel e // x_multiplier into e // y_multiplier."""
    h, wide = size
    p, q = len(rows), len(columns)
    x_channels, y_channels = outputs // x_multiplier, outputs // y_multiplier
    for task in prange(images * p):
        image, row = task // p, task % p
        for column in range(q):
            to = (task * q + column) * y_channels
            for e in range(y_channels):
                y[to + e] = bias[e] if bias.size > 0 else np.float32(0)
            for i in range(rows[row, 2]):
                for j in range(columns[column, 2]):
                    line = image * h + rows[row, 1] + i * steps[0]
                    seen = (line * wide + columns[column, 1] + j * steps[1]) * x_channels
                    tap_row, tap_column = rows[row, 0] + i * tap_steps[0], columns[column, 0] + j * tap_steps[1]
                    weight = (tap_row * width + tap_column) * outputs
                    for e in range(outputs):
                        y[to + e // y_multiplier] += x[seen + e // x_multiplier] * w[weight + e]
            for e in range(y_channels):
                value = y[to + e]
                value = max(value, low)
                y[to + e] = min(value, high)
