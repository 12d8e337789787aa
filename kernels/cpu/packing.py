"""What the factors of a matrix product are made of, and how blocks of them are packed for the inner kernel.

A factor need not exist in memory as a matrix: it is a *source*, an array with a description of how row and column
become an element, so that a convolution reads its patches straight from the image. Blocks are packed just before use:

    left factor:  [depth / LANES][row][LANES], whose vectors are copied as they lie in memory
    right factor: [column / TILE_WIDTH][depth][TILE_WIDTH]

Sources that lie the other way round pass through a transposition in registers. What is beyond the edge of a factor is
not defined in its packed form; results computed from it are dropped.
"""

from __future__ import annotations

from edge_sdk.kernels.cpu.jit import jit
from edge_sdk.kernels.cpu.simd import LANES, load, store, tile, transpose, zero
from edge_sdk.spec import Array

TILE_COLUMNS = 2
TILE_WIDTH = TILE_COLUMNS * LANES

# Kinds of source. MATRIX: element (i, j) at offset + i · row stride + j · column stride, one of which is 1. PATCHES:
# row i is what output pixel i of a convolution sees, column j its j-th number (tap by tap, channels innermost).
# FLIPPED: the weights (k, r, s, c) of a convolution as its input gradient needs them, row = tap · k + output channel,
# taps reversed.
MATRIX, PATCHES, FLIPPED = 0, 1, 2
Source = tuple[int, ...]
SOURCE_LENGTH = 19


def matrix(row_stride: int, column_stride: int, offset: int = 0) -> Source:
    """Describe a matrix in memory by its strides, in elements; the rows or the columns are contiguous."""
    return (MATRIX, row_stride, column_stride, offset) + (0,) * (SOURCE_LENGTH - 4)


def patches(
    image: tuple[int, int, int],
    out: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    before: tuple[int, int],
    dilation: tuple[int, int],
    spread: tuple[int, int] = (1, 1),
    channels: tuple[int, int] | None = None,
) -> Source:
    """Describe the patches of images (h, w, c): one row per output pixel of `out` (p, q), for all images in turn.

    `before` is the padding at the top and left. With `spread` the image is read as if that many pixels apart with zeros
    between, which is how an input gradient reads dy. `channels` is (first, count) for one group.
    """
    first, count = channels or (0, image[2])
    return (PATCHES, *image, *out, *kernel, *stride, *before, *dilation, *spread, first, count, 0)


def flipped(outputs: int, taps: int, channels: int, offset: int = 0) -> Source:
    """Describe convolution weights (outputs, taps, channels) as the right factor of the input gradient."""
    return (FLIPPED, outputs, taps, channels, offset) + (0,) * (SOURCE_LENGTH - 5)


@jit
def copy_run(x: Array, start: int, count: int, out: Array, to: int) -> None:
    """Copy `count` consecutive elements."""
    whole = count // LANES * LANES
    for e in range(0, whole, LANES):
        store(out, to + e, load(x, start + e))
    for e in range(whole, count):
        out[to + e] = x[start + e]


@jit
def _clear_run(count: int, out: Array, to: int) -> None:
    whole = count // LANES * LANES
    for e in range(0, whole, LANES):
        store(out, to + e, zero())
    for e in range(whole, count):
        out[to + e] = 0.0


@jit
def _patch(x: Array, source: Source, row: int, begin: int, count: int, out: Array, to: int) -> None:
    """Write elements begin … begin + count of patch `row` to `out`, from `to` on."""
    _, h, w, c, p, q, _, s, sh, sw, top, left, dh, dw, uh, uw, first, channels, _ = source
    image, rest = row // (p * q), row % (p * q)
    y0, x0 = rest // q * sh - top, rest % q * sw - left
    # Taps that are neighbours in memory too are copied as one.
    merged = dw == 1 and uw == 1 and channels == c and x0 >= 0 and x0 + s <= w
    run, across = (s * channels, 1) if merged else (channels, s)
    step, skipped, done = begin // run, begin % run, 0
    while done < count:
        here = min(run - skipped, count - done)
        i, j = y0 + step // across * dh, x0 + step % across * dw
        inside = i >= 0 and j >= 0
        if uh > 1 or uw > 1:
            inside = inside and i % uh == 0 and j % uw == 0
            i, j = i // uh, j // uw
        if inside and i < h and j < w:
            copy_run(x, ((image * h + i) * w + j) * c + first + skipped, here, out, to + done)
        else:
            _clear_run(here, out, to + done)
        done += here
        step, skipped = step + 1, 0


@jit
def _transpose_run(x: Array, start: int, stride: int, lines: int, out: Array, to: int, step: int, wanted: int) -> None:
    """out[to + i · step + j] = x[start + j · stride + i] for i < wanted and j < lines, both at most LANES."""
    if start + (lines - 1) * stride + LANES <= x.size:
        block = tile(LANES, 1)
        for j in range(LANES):
            block[j, 0] = load(x, start + j * stride) if j < lines else zero()
        transpose(block)
        for i in range(LANES):
            if i < wanted:
                store(out, to + i * step, block[i, 0])
    else:
        for i in range(wanted):
            for j in range(lines):
                out[to + i * step + j] = x[start + j * stride + i]


@jit
def pack_rows(
    x: Array, source: Source, row: int, rows: int, begin: int, depth: int, packed: Array, panel: int, line: int
) -> None:
    """Pack rows row … row + rows of the left factor, elements begin … begin + depth, into panels of `panel` elements.

    `line` is free space in `packed`, LANES more than `depth` elements.
    """
    if source[0] == MATRIX and source[1] == 1:
        stride = source[2]
        for d in range(0, depth, LANES):
            for r in range(0, rows, LANES):
                start, to = source[3] + row + r + (begin + d) * stride, d // LANES * panel + r * LANES
                _transpose_run(x, start, stride, min(LANES, depth - d), packed, to, LANES, min(LANES, rows - r))
        return
    whole = depth // LANES * LANES
    for r in range(rows):
        factor, start = x, source[3] + (row + r) * source[1] + begin
        if source[0] == PATCHES:
            _patch(x, source, row + r, begin, depth, packed, line)
            factor, start = packed, line
        to = r * LANES
        for d in range(0, whole, LANES):
            store(packed, to, load(factor, start + d))
            to += panel
        for d in range(whole, depth):
            packed[to + d - whole] = factor[start + d]


@jit
def pack_columns(
    x: Array, source: Source, begin: int, depth: int, column: int, columns: int, packed: Array, base: int,
    free: Array, line: int,
) -> None:  # fmt: skip
    """Pack rows begin … begin + depth of the right factor, columns column … column + columns, at packed[base].

    From free[line] on there is space for `columns` elements.
    """
    if source[0] == PATCHES:
        for d in range(depth):
            _patch(x, source, begin + d, column, columns, free, line)
            for n in range(0, columns, TILE_WIDTH):
                to = base + n * depth + d * TILE_WIDTH
                for v in range(TILE_COLUMNS):
                    store(packed, to + v * LANES, load(free, line + n + v * LANES))
        return
    for n in range(0, columns, TILE_WIDTH):
        tile_base, wide = base + n * depth, min(TILE_WIDTH, columns - n)
        if source[0] == MATRIX and source[1] == 1:
            stride = source[2]
            for v in range(0, wide, LANES):
                for d in range(0, depth, LANES):
                    start, to = source[3] + begin + d + (column + n + v) * stride, tile_base + d * TILE_WIDTH + v
                    lines, wanted = min(LANES, wide - v), min(LANES, depth - d)
                    _transpose_run(x, start, stride, lines, packed, to, TILE_WIDTH, wanted)
            continue
        for d in range(depth):
            if source[0] == MATRIX:
                start = source[3] + (begin + d) * source[1] + column + n
            else:
                _, outputs, taps, channels, offset = source[:5]
                tap, output = (begin + d) // outputs, (begin + d) % outputs
                start = offset + (output * taps + taps - 1 - tap) * channels + column + n
            copy_run(x, start, wide, packed, tile_base + d * TILE_WIDTH)
