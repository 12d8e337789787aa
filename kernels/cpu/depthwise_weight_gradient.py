"""The weight gradient of depthwise convolutions: products of rows of dy and x, summed tap by tap in parts."""

from __future__ import annotations

from collections.abc import Callable

from edge_sdk.kernels.cpu.depthwise import BLOCK
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, fma, load, store
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array


def _make_add_products(vectors: int) -> Callable[..., None]:
    @jit
    def add_products(
        dy: Array, slope: int, dy_step: int, x: Array, seen: int, x_step: int, count: int, out: Array, to: int
    ) -> None:
        """Add the products of `count` pairs of pixels, for `vectors` vectors of channels."""
        sums = tile(vectors, 1)
        for v in range(vectors):
            sums[v, 0] = load(out, to + v * LANES)
        for _ in range(count):
            for v in range(vectors):
                sums[v, 0] = fma(load(dy, slope + v * LANES), load(x, seen + v * LANES), sums[v, 0])
            slope += dy_step
            seen += x_step
        for v in range(vectors):
            store(out, to + v * LANES, sums[v, 0])

    return add_products


_add_block_products = _make_add_products(BLOCK)
_add_vector_products = _make_add_products(1)


@jit
def _add_row_products(
    dy: Array, slope: int, x: Array, seen: int, channels: int, multiplier: int, stride: int, count: int, out: Array,
    to: int,
) -> None:  # fmt: skip
    """Add to the filters of one tap at out[to] the products of `count` pixels of dy and those of x, `stride` apart."""
    step, e = stride * channels, 0
    if multiplier == 1:
        while e + BLOCK * LANES <= channels:
            _add_block_products(dy, slope + e, channels, x, seen + e, step, count, out, to + e)
            e += BLOCK * LANES
        while e + LANES <= channels:
            _add_vector_products(dy, slope + e, channels, x, seen + e, step, count, out, to + e)
            e += LANES
    filters = channels * multiplier
    while e < filters:
        for column in range(count):
            out[to + e] += dy[slope + column * filters + e] * x[seen + column * step + e // multiplier]
        e += 1


@parallel_jit
def sum_products(
    dy: Array, x: Array, parts: Array, images: int, size: tuple[int, int], channels: int, multiplier: int,
    out_width: int, rows: Array, columns: Array, stride: int, dilation: int,
) -> None:  # fmt: skip
    """parts[part] (taps, filters) = Σ dy · x over the part's share of the rows of dy.

    `columns` has for each column of taps: the first output column that meets the image, the image column that this one
    reads, and how many do.
    """
    h, wide = size
    count, taps, filters = parts.shape
    p, width = len(rows), len(columns)
    flat = parts.reshape(-1)
    for part in prange(count):
        mine = part * taps * filters
        for e in range(mine, mine + taps * filters):
            flat[e] = 0.0
        for task in range(images * p * part // count, images * p * (part + 1) // count):
            image, row = task // p, task % p
            for i in range(rows[row, 2]):
                line = (image * h + rows[row, 1] + i * dilation) * wide
                for j in range(width):
                    to = mine + ((rows[row, 0] + i) * width + j) * filters
                    slope, seen = (task * out_width + columns[j, 0]) * filters, (line + columns[j, 1]) * channels
                    _add_row_products(dy, slope, x, seen, channels, multiplier, stride, columns[j, 2], flat, to)


@parallel_jit
def add_parts(parts: Array, out: Array) -> None:
    """Add the partial sums (part, …) in order into the flat out."""
    flat = parts.reshape(-1)
    for e in prange(out.size):
        total = flat[e]
        for part in range(1, parts.shape[0]):
            total += flat[part * out.size + e]
        out[e] = total
