"""The weight gradient of convolutions and dense layers: (output gradients)ᵀ · patches, summed over all pixels.

Both factors are packed in panels, a slice of rows at a time, so that a tile of results reads consecutive memory:

    panels[channels / LANES][row][LANES]

and a tile goes straight to its place in the weights' own layout (outputs, depth).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.gemm import up
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, line_size, pack_patches
from edge_sdk.kernels.cpu.simd import LANES, broadcast, fma, load, load_some, store, store_some, zero
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array, Spec

# A tile of the gradient: GRADIENT_ROWS outputs, which divide LANES so that a tile reads one panel, × two vectors.
GRADIENT_ROWS = {16: 8, 8: 4, 4: 4}[LANES]
SLICE = 128  # rows packed at a time: panels of both factors stay in the first-level cache
SMALL = 64 << 10  # a gradient of at most so many elements is summed in parts of the rows
PARTS = 16
SHORTEST_PART = 512  # rows
TURNING_PAYS = 0.9  # of the products that a tile forms, padding included
RATE = 0.9  # of the peak, measured on large gradients


@jit
def add_gradient_tile(
    slopes: Array, slope: int, panels: Array, panel: int, second: int, rows: int, out: Array, to: int, row: int,
    height: int, width: int, fresh: bool,
) -> None:  # fmt: skip
    """Add to a tile of `out` the sum over rows of GRADIENT_ROWS slopes × two vectors; start from zero if `fresh`.

    Row m of the tile, m < height, is at out[to + m · row], `width` elements. The vectors of row r are at
    panels[panel + r · LANES] and panels[second + r · LANES].
    """
    sums = tile(GRADIENT_ROWS, 2)
    for m in range(GRADIENT_ROWS):
        for n in range(2):
            sums[m, n] = zero()
            if not fresh and m < height:
                sums[m, n] = load_some(out, to + m * row + n * LANES, width - n * LANES)
    for _ in range(rows):
        left, right = load(panels, panel), load(panels, second)
        for m in range(GRADIENT_ROWS):
            factor = broadcast(slopes, slope + m)
            sums[m, 0] = fma(factor, left, sums[m, 0])
            sums[m, 1] = fma(factor, right, sums[m, 1])
        slope += LANES
        panel += LANES
        second += LANES
    for m in range(GRADIENT_ROWS):
        if m < height:
            if width == 2 * LANES:
                store(out, to + m * row, sums[m, 0])
                store(out, to + m * row + LANES, sums[m, 1])
            else:
                store_some(out, to + m * row, sums[m, 0], width)
                if width > LANES:
                    store_some(out, to + m * row + LANES, sums[m, 1], width - LANES)


@jit
def _pack_slopes(dy: Array, start: int, row: int, outputs: int, count: int, panels: Array, to: int, panel: int) -> None:
    """Pack `count` rows of `outputs` elements; row r is at dy[start + r · row]."""
    for r in range(count):
        source, place = start + r * row, to + r * LANES
        for k in range(0, outputs, LANES):
            value = load(dy, source + k) if k + LANES <= outputs else load_some(dy, source + k, outputs - k)
            store(panels, place, value)
            place += panel


@parallel_jit
def _weight_gradient(
    dy: Array, outputs: int, all_outputs: int, first: int, x: Array, geometry: tuple[int, ...], rows: int, out: Array,
    start: int, depth_tasks: int, parts: int, turned: bool, scratch: Array,
) -> None:  # fmt: skip
    """out[start + part · outputs · depth …] (outputs, depth) = the sum over one part of the rows, for each part.

    With `turned` each part is (depth, outputs): the vectors of a tile are slopes.
    """
    window = Window(*geometry)
    depth = window.rows * window.columns * window.depth
    panels = (depth + LANES - 1) // LANES
    panel, output_panels = SLICE * LANES, (outputs + LANES - 1) // LANES
    for task in prange(parts * depth_tasks):
        mine = scratch[thread_id()]
        part, share = task // depth_tasks, task % depth_tasks
        # Whole pairs of panels, for a tile is two vectors wide.
        begin, end = (panels + 1) // 2 * share // depth_tasks * 2, (panels + 1) // 2 * (share + 1) // depth_tasks * 2
        end = min(end, panels)
        slopes = (end - begin) * panel
        line = slopes + output_panels * panel
        result = start + part * outputs * depth
        last_row = rows * (part + 1) // parts
        for row in range(rows * part // parts, last_row, SLICE):
            count = min(SLICE, last_row - row)
            pack_patches(x, window, row, count, begin, end, mine, panel, line)
            _pack_slopes(dy, row * all_outputs + first, all_outputs, outputs, count, mine, slopes, panel)
            fresh = row == rows * part // parts
            if turned:
                for pair in range((output_panels + 1) // 2):
                    left, column = slopes + pair * 2 * panel, pair * 2 * LANES
                    right = left + panel if column + LANES < outputs else left
                    for k in range(begin * LANES, min(end * LANES, depth), GRADIENT_ROWS):
                        factors, to = (k // LANES - begin) * panel + k % LANES, result + k * outputs + column
                        width = min(2 * LANES, outputs - column)
                        add_gradient_tile(
                            mine, factors, mine, left, right, count, out, to, outputs, depth - k, width, fresh
                        )
                continue
            pairs, tiles = (end - begin + 1) // 2, (outputs + GRADIENT_ROWS - 1) // GRADIENT_ROWS
            for index in range(pairs * tiles):
                # The panels are reused from tile to tile; a gradient that is complete at once is written row by row.
                pair, k = index // tiles, index % tiles * GRADIENT_ROWS
                if rows <= SLICE:
                    pair, k = index % pairs, index // pairs * GRADIENT_ROWS
                left = pair * 2 * panel
                right = left + panel if begin + pair * 2 + 1 < end else left
                column = (begin + pair * 2) * LANES
                slope, to = slopes + k // LANES * panel + k % LANES, result + k * depth + column
                width = min(2 * LANES, depth - column)
                add_gradient_tile(mine, slope, mine, left, right, count, out, to, depth, outputs - k, width, fresh)


@parallel_jit
def add_parts(parts: Array, count: int, size: int, out: Array, start: int) -> None:
    for block in prange((size + LANES - 1) // LANES):
        e = block * LANES
        total = load_some(parts, e, size - e)
        for part in range(1, count):
            total = total + load_some(parts, part * size + e, size - e)
        store_some(out, start + e, total, size - e)


@parallel_jit
def _add_turned_parts(parts: Array, count: int, outputs: int, depth: int, out: Array, start: int) -> None:
    for k in prange(outputs):
        for d in range(depth):
            total = parts[d * outputs + k]
            for part in range(1, count):
                total += parts[(part * depth + d) * outputs + k]
            out[start + k * depth + d] = total


class Division(NamedTuple):
    """How a gradient is divided: the parts of the rows decide the order of its sums, the tasks do not."""

    parts: int
    depth_tasks: int
    turned: bool
    """Whether a tile's vectors are outputs: they are depth, unless little of it leaves many lanes idle."""

    @classmethod
    def of(cls, outputs: int, rows: int, window: Window) -> Division:
        """Cut the depth into tasks; cut the rows too, by the shapes alone, where the gradient is small."""
        panels = math.ceil(window.size / LANES)
        parts = 1
        if outputs * window.size <= SMALL:
            parts = max(1, min(PARTS, rows // SHORTEST_PART))
        wanted = 1 if parts >= 2 * threads() else math.ceil(4 * threads() / parts)
        straight = up(window.size, 2 * LANES) * up(outputs, GRADIENT_ROWS)
        turned = up(window.size, GRADIENT_ROWS) * up(outputs, 2 * LANES) < TURNING_PAYS * straight
        return cls(parts, max(1, min(wanted, panels // 4)), turned and outputs * window.size <= SMALL)

    @property
    def in_scratch(self) -> bool:
        """Whether the sums are formed in scratch, and added into the result afterwards."""
        return self.parts > 1 or self.turned


def weight_gradient_scratch(outputs: int, rows: int, window: Window) -> tuple[Spec, Spec]:
    """Return the scratch that `weight_gradient` needs: a row per thread, and the parts."""
    division = Division.of(outputs, rows, window)
    panels = 2 * math.ceil(math.ceil(math.ceil(window.size / LANES) / 2) / division.depth_tasks)
    own = (panels + math.ceil(outputs / LANES)) * SLICE * LANES + line_size(window)
    parts = division.parts * outputs * window.size if division.in_scratch else 0
    return Spec((threads(), up(own, LANES))), Spec((parts,))


def weight_gradient_cost(outputs: int, rows: int, window: Window) -> float:
    """Estimate the seconds of `weight_gradient`."""
    depth = math.ceil(window.size / LANES) * LANES
    work = 2 * rows * depth * math.ceil(outputs / GRADIENT_ROWS) * GRADIENT_ROWS
    return seconds(work, RATE, 2 * BYTES * outputs * window.size, 2 * BYTES * rows * (window.size + outputs))


def weight_gradient(
    dy: Array, first: int, outputs: int, x: Array, window: Window, out: Array, start: int,
    scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    """out[start …] (outputs, depth) = Σ over output pixels of dy[pixel, first … first + outputs] · patch of x."""
    own, parts = scratch
    dy_channels = dy.shape[-1]
    rows = dy.size // dy_channels if dy_channels else 0
    if rows == 0 or window.size == 0:
        out.reshape(-1)[start : start + outputs * window.size] = 0
        return
    division = Division.of(outputs, rows, window)
    into, at = (parts, 0) if division.in_scratch else (out.reshape(-1), start)
    _weight_gradient(
        dy.reshape(-1), outputs, dy_channels, first, x.reshape(-1), tuple(window), rows, into, at,
        division.depth_tasks, division.parts, division.turned, own,
    )  # fmt: skip
    if division.turned:
        _add_turned_parts(parts, division.parts, outputs, window.size, out.reshape(-1), start)
    elif division.parts > 1:
        add_parts(parts, division.parts, outputs * window.size, out.reshape(-1), start)
