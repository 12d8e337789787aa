"""What outputs of a convolution see of an int8 image, gathered into panels of bytes.

    panels[depth / BYTES][row][BYTES]        one row per output pixel; its depth is tap by tap, channels innermost

Bytes are stored as unsigned x + 128, which dot4 wants; the packed weights carry the correction. Outside the image lies
the zero point. What is beyond the depth is anything: the weights there are zero.
"""

from __future__ import annotations

from edge_sdk.kernels.cpu.jit import jit
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.kernels.cpu.simd_integers import (
    BYTES,
    flip_signs,
    load_octets,
    load_some_octets,
    splat_octets,
    store_octets,
)
from edge_sdk.spec import Array


@jit
def _load_up_to(x: Array, source: int) -> Array:
    """BYTES bytes from x[source] on; zeros beyond the end of x."""
    if source + BYTES <= x.size:
        return load_octets(x, source)
    return load_some_octets(x, source, x.size - source)


@jit
def _pack_whole_vectors(x: Array, w: Window, zero: int, first_row: int, count: int, panels: Array, panel: int) -> None:
    outside = flip_signs(splat_octets(zero))
    for r in range(count):
        image, rest = divmod(first_row + r, w.out_height * w.out_width)
        top = rest // w.out_width * w.stride_y + w.top
        left = rest % w.out_width * w.stride_x + w.left
        to = r * BYTES
        for tap in range(w.rows * w.columns):
            i, j = top + tap // w.columns * w.dilation_y, left + tap % w.columns * w.dilation_x
            if 0 <= i < w.height and 0 <= j < w.width:
                source = ((image * w.height + i) * w.width + j) * w.channels + w.first
                for v in range(0, w.depth, BYTES):
                    store_octets(panels, to, flip_signs(load_octets(x, source + v)))
                    to += panel
            else:
                for _ in range(0, w.depth, BYTES):
                    store_octets(panels, to, outside)
                    to += panel


@jit
def _pack_pixels(x: Array, w: Window, first_row: int, count: int, panels: Array, panel: int) -> None:
    """One tap without padding: 1×1 convolutions and rows of matrices."""
    for r in range(count):
        image, rest = divmod(first_row + r, w.out_height * w.out_width)
        i, j = rest // w.out_width * w.stride_y, rest % w.out_width * w.stride_x
        source = ((image * w.height + i) * w.width + j) * w.channels + w.first
        to = r * BYTES
        for v in range(0, w.depth, BYTES):
            store_octets(panels, to, flip_signs(_load_up_to(x, source + v)))
            to += panel


@jit
def _pack_runs(
    x: Array, w: Window, zero: int, first_row: int, count: int, panels: Array, panel: int, line: int
) -> None:
    """Any depth: a row is put together at panels[line] first."""
    size = w.rows * w.columns * w.depth
    outside = splat_octets(zero)
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
                source = ((image * w.height + i) * w.width + j) * w.channels + w.first
                for v in range(0, run, BYTES):
                    store_octets(panels, to + v, _load_up_to(x, source + v))
            else:
                for v in range(0, run, BYTES):
                    store_octets(panels, to + v, outside)
            to += run
        to = r * BYTES
        for v in range(0, size, BYTES):
            store_octets(panels, to, flip_signs(load_octets(panels, line + v)))
            to += panel


@jit
def pack_patches(
    x: Array, w: Window, zero: int, first_row: int, count: int, panels: Array, panel: int, line: int
) -> None:
    """Gather what outputs first_row … first_row + count see of the flat images x.

    `panel` is the number of bytes from one panel to the next; panels[line …] is free space of `line_size` bytes.
    """
    if w.rows * w.columns == 1 and w.top == 0 and w.left == 0:
        _pack_pixels(x, w, first_row, count, panels, panel)
    elif w.depth % BYTES == 0:
        _pack_whole_vectors(x, w, zero, first_row, count, panels, panel)
    else:
        _pack_runs(x, w, zero, first_row, count, panels, panel, line)


def line_size(window: Window) -> int:
    """Bytes of the free space that `pack_patches` needs."""
    return window.size + 2 * BYTES
