"""What outputs of a convolution see of an int8 image, gathered into panels of bytes.

    panels[depth / BYTES][row][BYTES]        one row per output pixel; its depth is tap by tap, channels innermost

Bytes are stored as unsigned x + 128, which dot4 wants; the packed weights carry the correction. Outside the image lies
the zero point. What is beyond the depth is anything: the weights there are zero.
"""

from __future__ import annotations

from typing import Any

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
def _load_up_to(x: Array, source: int) -> Any:
    """BYTES bytes from x[source] on; zeros beyond the end of x."""
    if source + BYTES <= x.size:
        return load_octets(x, source)
    return load_some_octets(x, source, x.size - source)


# Loops are nested, and the output's place is counted along: a division takes as long as copying a vector or two.


@jit
def _pack_whole_vectors(x: Array, w: Window, zero: int, first_row: int, count: int, panels: Array, panel: int) -> None:
    outside = flip_signs(splat_octets(zero))
    image, rest = divmod(first_row, w.out_height * w.out_width)
    p, q = divmod(rest, w.out_width)
    for r in range(count):
        top, left = p * w.stride_y + w.top, q * w.stride_x + w.left
        to = r * BYTES
        for a in range(w.rows):
            i = top + a * w.dilation_y
            row = (image * w.height + i) * w.width
            for b in range(w.columns):
                j = left + b * w.dilation_x
                if 0 <= i < w.height and 0 <= j < w.width:
                    source = (row + j) * w.channels + w.first
                    for v in range(0, w.depth, BYTES):
                        store_octets(panels, to, flip_signs(load_octets(x, source + v)))
                        to += panel
                else:
                    for _ in range(0, w.depth, BYTES):
                        store_octets(panels, to, outside)
                        to += panel
        image, p, q = _next(image, p, q, w)


@jit
def _next(image: int, p: int, q: int, w: Window) -> tuple[int, int, int]:
    """The output after (image, row p, column q)."""
    q += 1
    if q == w.out_width:
        p, q = p + 1, 0
        if p == w.out_height:
            image, p = image + 1, 0
    return image, p, q


@jit
def _pack_pixels(x: Array, w: Window, first_row: int, count: int, panels: Array, panel: int) -> None:
    """One tap without padding: 1×1 convolutions and rows of matrices."""
    image, rest = divmod(first_row, w.out_height * w.out_width)
    p, q = divmod(rest, w.out_width)
    for r in range(count):
        source = ((image * w.height + p * w.stride_y) * w.width + q * w.stride_x) * w.channels + w.first
        to = r * BYTES
        for v in range(0, w.depth, BYTES):
            store_octets(panels, to, flip_signs(_load_up_to(x, source + v)))
            to += panel
        image, p, q = _next(image, p, q, w)


@jit
def _pack_runs(
    x: Array, w: Window, zero: int, first_row: int, count: int, panels: Array, panel: int, line: int
) -> None:
    """Any depth: a row is put together at panels[line] first."""
    size = w.rows * w.columns * w.depth
    outside = splat_octets(zero)
    image, rest = divmod(first_row, w.out_height * w.out_width)
    p, q = divmod(rest, w.out_width)
    for r in range(count):
        top, left = p * w.stride_y + w.top, q * w.stride_x + w.left
        # Taps that are neighbours in memory too are copied as one run. Runs are written in order: the excess of one is
        # overwritten by the next.
        merged = w.dilation_x == 1 and w.depth == w.channels and left >= 0 and left + w.columns <= w.width
        across, run = (1, w.columns * w.depth) if merged else (w.columns, w.depth)
        to = line
        for a in range(w.rows):
            i = top + a * w.dilation_y
            row = (image * w.height + i) * w.width
            for b in range(across):
                j = left + b * w.dilation_x
                if 0 <= i < w.height and 0 <= j < w.width:
                    source = (row + j) * w.channels + w.first
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
        image, p, q = _next(image, p, q, w)


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
