"""What the outputs of a convolution see of an image, gathered into panels for the inner kernels.

    panels[depth / LANES][row][LANES]        one row per output pixel; its depth is tap by tap, channels innermost

A tile of rows then reads consecutive memory whatever the number of channels is (reading rows of NHWC in place would
stride by a power of two and make them evict one another from the cache).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from edge_sdk.kernels.cpu.jit import jit
from edge_sdk.kernels.cpu.simd import LANES, load, load_some, store, zero
from edge_sdk.spec import Array


class Window(NamedTuple):
    """Which numbers of images (n, height, width, channels) each of `out_height` × `out_width` outputs sees."""

    height: int
    width: int
    channels: int
    first: int
    """The first channel that is seen …"""
    depth: int
    """… and how many: those of one group."""
    rows: int
    columns: int
    stride_y: int
    stride_x: int
    top: int
    """Image row of the first tap of the first output; negative where there is padding."""
    left: int
    dilation_y: int
    dilation_x: int
    out_height: int
    out_width: int

    @property
    def size(self) -> int:
        """Numbers one output sees."""
        return self.rows * self.columns * self.depth

    @property
    def outputs(self) -> int:
        """Outputs of one image."""
        return self.out_height * self.out_width


@lru_cache(1024)
def whole_rows(rows: int, channels: int) -> Window:
    """Describe a matrix (rows, channels) as an image of which each output sees one pixel."""
    return Window(1, rows, channels, 0, channels, 1, 1, 1, 1, 0, 0, 1, 1, 1, rows)


@jit
def _pack_whole_vectors(
    x: Array, w: Window, first_row: int, count: int, begin: int, end: int, panels: Array, panel: int
) -> None:
    per_tap = w.depth // LANES
    for r in range(count):
        image, rest = divmod(first_row + r, w.out_height * w.out_width)
        top = rest // w.out_width * w.stride_y + w.top
        left = rest % w.out_width * w.stride_x + w.left
        p, to = begin, r * LANES
        while p < end:
            tap, c = p // per_tap, p % per_tap
            last = min(per_tap, c + end - p)
            i, j = top + tap // w.columns * w.dilation_y, left + tap % w.columns * w.dilation_x
            if 0 <= i < w.height and 0 <= j < w.width:
                source = ((image * w.height + i) * w.width + j) * w.channels + w.first
                for v in range(c, last):
                    store(panels, to, load(x, source + v * LANES))
                    to += panel
            else:
                for _ in range(c, last):
                    store(panels, to, zero())
                    to += panel
            p += last - c


@jit
def _copy_run(x: Array, source: int, count: int, out: Array, to: int) -> None:
    """Copy `count` elements; up to LANES - 1 more are written behind them."""
    e = 0
    while e < count:
        if source + e + LANES <= x.size:
            store(out, to + e, load(x, source + e))
        else:
            store(out, to + e, load_some(x, source + e, x.size - source - e))
        e += LANES


@jit
def _clear_run(count: int, out: Array, to: int) -> None:
    for e in range(0, count, LANES):
        store(out, to + e, zero())


@jit
def _pack_runs(
    x: Array, w: Window, first_row: int, count: int, begin: int, end: int, panels: Array, panel: int, line: int
) -> None:
    """As _pack_whole_vectors for any depth: a row is put together at panels[line] first."""
    size = w.rows * w.columns * w.depth
    for r in range(count):
        image, rest = divmod(first_row + r, w.out_height * w.out_width)
        top = rest // w.out_width * w.stride_y + w.top
        left = rest % w.out_width * w.stride_x + w.left
        # Taps that are neighbours in memory too are copied as one run. Runs are written in order: the excess of one is
        # overwritten by the next.
        merged = w.dilation_x == 1 and w.depth == w.channels and left >= 0 and left + w.columns <= w.width
        across, run = (1, w.columns * w.depth) if merged else (w.columns, w.depth)
        to = line
        for tap in range(w.rows * across):
            i, j = top + tap // across * w.dilation_y, left + tap % across * w.dilation_x
            if 0 <= i < w.height and 0 <= j < w.width:
                _copy_run(x, ((image * w.height + i) * w.width + j) * w.channels + w.first, run, panels, to)
            else:
                _clear_run(run, panels, to)
            to += run
        store(panels, line + size, zero())
        to = r * LANES
        for p in range(begin, end):
            store(panels, to, load(panels, line + p * LANES))
            to += panel


@jit
def pack_patches(
    x: Array, w: Window, first_row: int, count: int, begin: int, end: int, panels: Array, panel: int, line: int
) -> None:
    """Gather panels begin … end of what outputs first_row … first_row + count see of the flat images x.

    `panel` is the number of elements from one panel to the next; panels[line …] is free space of `line_size` elements.
    What is beyond the depth, up to a whole panel, is zero.
    """
    if w.depth % LANES == 0:
        _pack_whole_vectors(x, w, first_row, count, begin, end, panels, panel)
    else:
        _pack_runs(x, w, first_row, count, begin, end, panels, panel, line)


def line_size(window: Window) -> int:
    """Elements of the free space that `pack_patches` needs."""
    return 0 if window.depth % LANES == 0 else window.size + 2 * LANES
