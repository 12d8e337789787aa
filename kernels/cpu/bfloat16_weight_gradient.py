"""The weight gradient as in weight_gradient.py, of factors rounded to bfloat16.

Rows are packed in twos, a slice of them at a time:

    panels[channels / LANES][row / 2][LANES]      pairs of the same channel

Memory, sums and the gradient itself stay float32.
"""

from __future__ import annotations

import math

from edge_sdk.kernels.cpu.bfloat16_gemm import pixel_of
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, line_size, pack_patches
from edge_sdk.kernels.cpu.simd import LANES, broadcast, load, load_some, store, store_some, zero
from edge_sdk.kernels.cpu.simd_bfloat16 import dot_pairs, lane_pairs
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.kernels.cpu.weight_gradient import GRADIENT_ROWS, Division, add_parts
from edge_sdk.spec import Array, Spec

PAIRS = 128  # of rows, packed at a time: panels of both factors stay in the first-level cache


@jit
def _add_gradient_tile(
    slopes: Array, slope: int, panels: Array, panel: int, second: int, pairs: int, out: Array, to: int, row: int,
    height: int, width: int, fresh: bool,
) -> None:  # fmt: skip
    """Add to a tile of `out` the sum over pairs of rows of GRADIENT_ROWS slopes × two vectors; from zero if `fresh`.

    Row m of the tile, m < height, is at out[to + m · row], `width` elements. The vectors of pair r are at
    panels[panel + r · LANES] and panels[second + r · LANES].
    """
    sums = tile(GRADIENT_ROWS, 2)
    for m in range(GRADIENT_ROWS):
        for n in range(2):
            sums[m, n] = zero()
            if not fresh and m < height:
                sums[m, n] = load_some(out, to + m * row + n * LANES, width - n * LANES)
    for _ in range(pairs):
        left, right = load(panels, panel), load(panels, second)
        for m in range(GRADIENT_ROWS):
            factor = broadcast(slopes, slope + m)
            sums[m, 0] = dot_pairs(factor, left, sums[m, 0])
            sums[m, 1] = dot_pairs(factor, right, sums[m, 1])
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
def _pack_two_rows(
    x: Array, first: int, second: int, channels: int, both: bool, panels: Array, to: int, panel: int
) -> None:
    """Pack `channels` elements from x[first] and x[second] on in pairs; without `both` the second row is zero."""
    for k in range(0, channels, LANES):
        if both and k + LANES <= channels:
            store(panels, to, lane_pairs(load(x, first + k), load(x, second + k)))
        else:
            other = load_some(x, second + k, channels - k) if both else zero()
            store(panels, to, lane_pairs(load_some(x, first + k, channels - k), other))
        to += panel


@jit
def _pack_taps_of_two(
    x: Array, w: Window, row: int, both: bool, begin: int, end: int, panels: Array, to: int, panel: int
) -> None:
    """Pack panels begin … end of what outputs `row` and, if `both`, row + 1 see, where taps are whole vectors deep."""
    per_tap, per_image = w.depth // LANES, w.out_height * w.out_width
    image, rest = divmod(row, per_image)
    other_image, other_rest = divmod(row + 1, per_image)
    top, left = rest // w.out_width * w.stride_y + w.top, rest % w.out_width * w.stride_x + w.left
    other_top = other_rest // w.out_width * w.stride_y + w.top
    other_left = other_rest % w.out_width * w.stride_x + w.left
    p = begin
    while p < end:
        tap, c = p // per_tap, p % per_tap
        last = min(per_tap, c + end - p)
        y, z = tap // w.columns * w.dilation_y, tap % w.columns * w.dilation_x
        i, j, k, m = top + y, left + z, other_top + y, other_left + z
        here = 0 <= i < w.height and 0 <= j < w.width
        there = both and 0 <= k < w.height and 0 <= m < w.width
        first = ((image * w.height + i) * w.width + j) * w.channels + w.first
        second = ((other_image * w.height + k) * w.width + m) * w.channels + w.first
        for v in range(c, last):
            above = load(x, first + v * LANES) if here else zero()
            below = load(x, second + v * LANES) if there else zero()
            store(panels, to, lane_pairs(above, below))
            to += panel
        p += last - c


@jit
def _pack_patches(
    x: Array, w: Window, row: int, count: int, begin: int, end: int, panels: Array, panel: int, line: Array
) -> None:
    """Gather panels begin … end of what outputs row … row + count see; `line` is free space for two rows."""
    size, single = w.rows * w.columns * w.depth, w.rows == 1 and w.columns == 1
    for r in range(0, count, 2):
        both, to = r + 1 < count, r // 2 * LANES
        first = pixel_of(w, row + r) if single else -1
        second = pixel_of(w, row + r + 1) if single and both else first
        if first >= 0 and second >= 0:
            channels, start = min(size, end * LANES) - begin * LANES, begin * LANES
            _pack_two_rows(x, first + start, second + start, channels, both, panels, to, panel)
            continue
        if w.depth % LANES == 0:
            _pack_taps_of_two(x, w, row + r, both, begin, end, panels, to, panel)
            continue
        panels_of_two = (end - begin) * 2 * LANES
        pack_patches(x, w, row + r, 2 if both else 1, begin, end, line, 2 * LANES, panels_of_two)
        for p in range(0, panels_of_two, 2 * LANES):
            store(panels, to, lane_pairs(load(line, p), load(line, p + LANES) if both else zero()))
            to += panel


@parallel_jit
def _weight_gradient(
    dy: Array, outputs: int, all_outputs: int, first: int, x: Array, geometry: tuple[int, ...], rows: int, out: Array,
    start: int, depth_tasks: int, parts: int, scratch: Array,
) -> None:  # fmt: skip
    """out[start + part · outputs · depth …] (outputs, depth) = the sum over one part of the rows, for each part."""
    window = Window(*geometry)
    depth = window.rows * window.columns * window.depth
    panels = (depth + LANES - 1) // LANES
    panel, output_panels = PAIRS * LANES, (outputs + LANES - 1) // LANES
    for task in prange(parts * depth_tasks):
        mine = scratch[thread_id()]
        part, share = task // depth_tasks, task % depth_tasks
        # Whole pairs of panels, for a tile is two vectors wide.
        begin, end = (panels + 1) // 2 * share // depth_tasks * 2, (panels + 1) // 2 * (share + 1) // depth_tasks * 2
        end = min(end, panels)
        slopes = (end - begin) * panel
        line = mine[slopes + output_panels * panel :]
        result = start + part * outputs * depth
        first_row, last_row = rows * part // parts, rows * (part + 1) // parts
        for row in range(first_row, last_row, 2 * PAIRS):
            count = min(2 * PAIRS, last_row - row)
            _pack_patches(x, window, row, count, begin, end, mine, panel, line)
            for r in range(0, count, 2):
                source = (row + r) * all_outputs + first
                both, to = r + 1 < count, slopes + r // 2 * LANES
                _pack_two_rows(dy, source, source + all_outputs, outputs, both, mine, to, panel)
            fresh = row == first_row
            blocks, tiles = (end - begin + 1) // 2, (outputs + GRADIENT_ROWS - 1) // GRADIENT_ROWS
            for index in range(blocks * tiles):
                # The panels are reused from tile to tile; a gradient that is complete at once is written row by row.
                block, k = index // tiles, index % tiles * GRADIENT_ROWS
                if rows <= 2 * PAIRS:
                    block, k = index % blocks, index // blocks * GRADIENT_ROWS
                left = block * 2 * panel
                right = left + panel if begin + block * 2 + 1 < end else left
                column = (begin + block * 2) * LANES
                slope, to = slopes + k // LANES * panel + k % LANES, result + k * depth + column
                width, pairs = min(2 * LANES, depth - column), (count + 1) // 2
                _add_gradient_tile(mine, slope, mine, left, right, pairs, out, to, depth, outputs - k, width, fresh)


def weight_gradient_scratch(outputs: int, rows: int, window: Window) -> tuple[Spec, Spec]:
    """Return the scratch that `weight_gradient` needs: a row per thread, and the parts."""
    division = Division.of(outputs, rows, window)
    panels = 2 * math.ceil(math.ceil(math.ceil(window.size / LANES) / 2) / division.depth_tasks)
    own = (panels + math.ceil(outputs / LANES)) * PAIRS * LANES + panels * 2 * LANES + line_size(window)
    parts = division.parts * outputs * window.size if division.parts > 1 else 0
    return Spec((threads(), -(-own // LANES) * LANES)), Spec((parts,))


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
    into, at = (out.reshape(-1), start) if division.parts == 1 else (parts, 0)
    _weight_gradient(
        dy.reshape(-1), outputs, dy_channels, first, x.reshape(-1), tuple(window), rows, into, at,
        division.depth_tasks, division.parts, own,
    )  # fmt: skip
    if division.parts > 1:
        add_parts(parts, division.parts, outputs * window.size, out.reshape(-1), start)
