"""Register-blocked matrix product out (m, n) = a (m, depth) · b (depth, n), the one loop under all dense kernels.

Neither factor need exist in memory: each is a *source*, an array with a description of how row and column become an
element, so a convolution reads its patches straight from the image. Both are packed, block by block, just before use:

    packed a: [row tile][depth][TILE_ROWS]          packed b: [column tile][depth][TILE_WIDTH]

with zeros beyond the edges. The blocking is that of Goto and van de Geijn (2008). Every element of the result is summed
by one task in a fixed order, so the bytes do not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.simd import LANES, broadcast, fma, load, plus, store, tile, zero
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Array, Spec

# The tile of results kept in registers, rows × vectors: with one row of b and one broadcast it must fit the 32
# registers of AVX-512 and NEON, or the 16 of AVX2.
TILE_ROWS, TILE_COLUMNS = {16: (14, 2), 8: (6, 2), 4: (8, 2)}[LANES]
TILE_WIDTH = TILE_COLUMNS * LANES
BLOCK_DEPTH = 256  # a packed column tile of b, 32 KiB, stays in the first-level cache
BLOCK_ROWS = 8 * TILE_ROWS  # a packed block of a stays in the second-level cache

NO_ACTIVATION, RELU, RELU6 = 0, 1, 2
ACTIVATIONS: dict[Activation, int] = {None: NO_ACTIVATION, "relu": RELU, "relu6": RELU6}

# Kinds of source. MATRIX: element (i, j) at offset + i · row stride + j · column stride. PATCHES: row i is what output
# pixel i of a convolution sees, column j its j-th number (tap by tap, channels innermost). FLIPPED: the weights
# (k, r, s, c) of a convolution as its input gradient needs them, row = tap · k + output channel, taps reversed.
MATRIX, PATCHES, FLIPPED = 0, 1, 2
Source = tuple[int, ...]
SOURCE_LENGTH = 19


def matrix(row_stride: int, column_stride: int, offset: int = 0) -> Source:
    """Describe a matrix in memory by its strides, in elements."""
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
def _patch(x: Array, source: Source, row: int, begin: int, count: int, line: Array, target: int) -> None:
    """Write elements begin … begin + count of patch `row` to `line`, from `target` on."""
    _, h, w, c, p, q, r, s, sh, sw, top, left, dh, dw, uh, uw, first, channels, _ = source
    image, rest = row // (p * q), row % (p * q)
    y0, x0 = rest // q * sh - top, rest % q * sw - left
    done = 0
    while done < count:
        tap, channel = (begin + done) // channels, (begin + done) % channels
        run = min(channels - channel, count - done)
        i, j = y0 + tap // s * dh, x0 + tap % s * dw
        inside = i >= 0 and j >= 0 and i % uh == 0 and j % uw == 0 and i // uh < h and j // uw < w
        if inside:
            start = ((image * h + i // uh) * w + j // uw) * c + first + channel
            for e in range(run):
                line[target + done + e] = x[start + e]
        else:
            for e in range(run):
                line[target + done + e] = 0.0
        done += run


@jit
def _pack_rows(x: Array, source: Source, row: int, rows: int, begin: int, depth: int, packed: Array, line: int) -> None:
    """Pack rows … of the left factor, elements begin … begin + depth; `line` is free space in `packed`."""
    for block in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        base = block * depth * TILE_ROWS
        here = min(TILE_ROWS, rows - block * TILE_ROWS)
        start = row + block * TILE_ROWS
        if source[0] == MATRIX and source[1] == 1:  # a transposed matrix: its columns are contiguous
            for d in range(depth):
                origin = source[3] + start + (begin + d) * source[2]
                for m in range(here):
                    packed[base + d * TILE_ROWS + m] = x[origin + m]
        else:
            for m in range(here):
                if source[0] == MATRIX:
                    origin = source[3] + (start + m) * source[1] + begin * source[2]
                    for d in range(depth):
                        packed[base + d * TILE_ROWS + m] = x[origin + d * source[2]]
                else:
                    _patch(x, source, start + m, begin, depth, packed, line)
                    for d in range(depth):
                        packed[base + d * TILE_ROWS + m] = packed[line + d]
        for m in range(here, TILE_ROWS):
            for d in range(depth):
                packed[base + d * TILE_ROWS + m] = 0.0


@jit
def _pack_columns(
    x: Array, source: Source, begin: int, depth: int, column: int, columns: int, packed: Array, base: int
) -> None:
    """Pack one column tile of the right factor: rows begin … begin + depth, `columns` ≤ TILE_WIDTH columns."""
    if source[0] == MATRIX and source[1] == 1:  # a transposed matrix: read it along its contiguous rows
        for n in range(columns):
            origin = source[3] + begin + (column + n) * source[2]
            for d in range(depth):
                packed[base + d * TILE_WIDTH + n] = x[origin + d]
    else:
        for d in range(depth):
            target = base + d * TILE_WIDTH
            if source[0] == MATRIX:
                origin = source[3] + (begin + d) * source[1] + column * source[2]
                for n in range(columns):
                    packed[target + n] = x[origin + n * source[2]]
            elif source[0] == PATCHES:
                _patch(x, source, begin + d, column, columns, packed, target)
            else:
                _, outputs, taps, channels, offset = source[:5]
                tap, output = (begin + d) // outputs, (begin + d) % outputs
                origin = offset + (output * taps + taps - 1 - tap) * channels + column
                for n in range(columns):
                    packed[target + n] = x[origin + n]
    for n in range(columns, TILE_WIDTH):
        for d in range(depth):
            packed[base + d * TILE_WIDTH + n] = 0.0


@jit
def _multiply_tile(a: Array, first: int, b: Array, second: int, depth: int, out: Array, to: int, row: int, add: bool) -> None:
    """out tile (= or +=) packed row tile at a[first] · packed column tile at b[second]."""
    sums = tile(TILE_ROWS, TILE_COLUMNS)
    for m in range(TILE_ROWS):
        for n in range(TILE_COLUMNS):
            sums[m, n] = zero()
    for _ in range(depth):
        for m in range(TILE_ROWS):
            factor = broadcast(a, first + m)
            for n in range(TILE_COLUMNS):
                sums[m, n] = fma(factor, load(b, second + n * LANES), sums[m, n])
        first += TILE_ROWS
        second += TILE_WIDTH
    for m in range(TILE_ROWS):
        for n in range(TILE_COLUMNS):
            place = to + m * row + n * LANES
            store(out, place, plus(load(out, place), sums[m, n]) if add else sums[m, n])


@jit
def _finish(out: Array, start: int, stride: int, rows: int, columns: int, bias: Array, column: int, activation: int) -> None:
    """Add the bias and apply the activation to a block of results that is still in the cache."""
    for r in range(rows):
        place = start + r * stride
        if bias.size:
            for n in range(columns):
                out[place + n] += bias[column + n]
        if activation == RELU:
            for n in range(columns):
                out[place + n] = max(out[place + n], 0.0)
        elif activation == RELU6:
            for n in range(columns):
                out[place + n] = min(max(out[place + n], 0.0), 6.0)


@parallel_jit
def _pack_all_columns(b: Array, source: Source, n: int, depth: int, packed: Array) -> None:
    """Pack the whole right factor: [depth block][column tile][depth][TILE_WIDTH]."""
    tiles = (n + TILE_WIDTH - 1) // TILE_WIDTH
    blocks = (depth + BLOCK_DEPTH - 1) // BLOCK_DEPTH
    for task in prange(blocks * tiles):
        begin, t = task // tiles * BLOCK_DEPTH, task % tiles
        here = min(BLOCK_DEPTH, depth - begin)
        base = begin * tiles * TILE_WIDTH + t * here * TILE_WIDTH
        _pack_columns(b, source, begin, here, t * TILE_WIDTH, min(TILE_WIDTH, n - t * TILE_WIDTH), packed, base)


@parallel_jit
def _multiply(
    a: Array, a_source: Source, b: Array, b_source: Source, shared: Array, out: Array, start: int, stride: int,
    m: int, n: int, depth: int, block_columns: int, bias: Array, activation: int, scratch: Array,
) -> None:  # fmt: skip
    tiles = (n + TILE_WIDTH - 1) // TILE_WIDTH
    column_tasks = (n + block_columns - 1) // block_columns
    row_tasks = (m + BLOCK_ROWS - 1) // BLOCK_ROWS
    for task in prange(row_tasks * column_tasks):
        mine = scratch[thread_id()]
        row, column = task // column_tasks * BLOCK_ROWS, task % column_tasks * block_columns
        rows, columns = min(BLOCK_ROWS, m - row), min(block_columns, n - column)
        line = BLOCK_ROWS * BLOCK_DEPTH
        edge = line + BLOCK_DEPTH
        own = edge + TILE_ROWS * TILE_WIDTH
        if depth == 0:  # an empty sum
            for r in range(rows):
                for c in range(columns):
                    out[start + (row + r) * stride + column + c] = 0.0
        for begin in range(0, depth, BLOCK_DEPTH):
            here = min(BLOCK_DEPTH, depth - begin)
            _pack_rows(a, a_source, row, rows, begin, here, mine, line)
            for j in range(0, columns, TILE_WIDTH):
                wide = min(TILE_WIDTH, columns - j)
                if shared.size:
                    factor = shared
                    place = begin * tiles * TILE_WIDTH + (column + j) // TILE_WIDTH * here * TILE_WIDTH
                else:
                    factor = mine
                    place = own
                    _pack_columns(b, b_source, begin, here, column + j, wide, mine, own)
                for i in range(0, rows, TILE_ROWS):
                    target = start + (row + i) * stride + column + j
                    tall = min(TILE_ROWS, rows - i)
                    if tall == TILE_ROWS and wide == TILE_WIDTH:
                        _multiply_tile(mine, i * here, factor, place, here, out, target, stride, begin > 0)
                        continue
                    _multiply_tile(mine, i * here, factor, place, here, mine, edge, TILE_WIDTH, False)
                    for r in range(tall):
                        for c in range(wide):
                            value = mine[edge + r * TILE_WIDTH + c]
                            out[target + r * stride + c] = out[target + r * stride + c] + value if begin > 0 else value
        _finish(out, start + row * stride + column, stride, rows, columns, bias, column, activation)


def _share_columns(m: int, n: int) -> bool:
    """Whether to pack the right factor once for all tasks: when many row blocks would pack it again and again."""
    return m > 2 * BLOCK_ROWS or n <= TILE_WIDTH


def multiply_scratch(m: int, n: int, depth: int) -> tuple[Spec, ...]:
    """Return the scratch that `multiply` needs."""
    own = BLOCK_ROWS * BLOCK_DEPTH + BLOCK_DEPTH + TILE_ROWS * TILE_WIDTH + BLOCK_DEPTH * TILE_WIDTH + 2 * LANES
    shared = math.ceil(n / TILE_WIDTH) * TILE_WIDTH * depth if _share_columns(m, n) else 0
    return Spec((threads(), own)), Spec((shared,))


def multiply(
    a: Array, a_source: Source, b: Array, b_source: Source, out: Array, m: int, n: int, depth: int, scratch: Any,
    bias: Array | None = None, activation: Activation = None, start: int = 0, stride: int | None = None,
) -> None:  # fmt: skip
    """Compute out (m, n), flat from element `start` with `stride` elements a row (default n), plus bias, activated."""
    own, shared = scratch
    if _share_columns(m, n):
        _pack_all_columns(b.reshape(-1), b_source, n, depth, shared)
        # A few column tasks a row block when there are few row blocks, so that every thread has work.
        block_columns = n if m > 16 * BLOCK_ROWS else TILE_WIDTH * max(1, n // TILE_WIDTH // 4)
    else:
        block_columns = TILE_WIDTH * max(1, n // TILE_WIDTH // 8)
    _multiply(
        a.reshape(-1), a_source, b.reshape(-1), b_source, shared, out.reshape(-1), start, n if stride is None else stride,
        m, n, depth, block_columns, own[0, :0] if bias is None else bias, ACTIVATIONS[activation], own,
    )  # fmt: skip
