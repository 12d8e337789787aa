"""3×3 convolutions of stride 1 by Winograd's F(2×2, 3×3): forward and input gradient, as exact as the direct sum.

Its transforms only add, subtract and halve, where those of F(4×4, 3×3) (winograd.py) multiply by up to 8 and cancel
afterwards; it saves 2.25 of the multiplications instead of 4. The transforms are those of Lavin and Gray 2016
(arXiv:1509.09308), section 4.1. A weight gradient sums over thousands of pixels and gains nothing in exactness from
this form: where precision is asked for, it is the plain product of weight_gradient.py.
"""

from __future__ import annotations

import math
from typing import Any

from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.gemm import HALF_ROWS, PRODUCT_RATE, TILE_ROWS, TILE_WIDTH, multiply_rows, up
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.simd import LANES, at_least, at_most, load, splat, store, zero
from edge_sdk.kernels.cpu.simd_tile import tile, transpose
from edge_sdk.kernels.cpu.winograd import HIGHEST, LOWEST, Layer, copy_clipped
from edge_sdk.spec import Array, Spec

BLOCK = 2  # outputs a block, along each axis
SEEN = 4  # inputs a block
POSITIONS = SEEN * SEEN
MAX_BLOCKS = 6 * TILE_ROWS  # of outputs that one task transforms and multiplies at a time


def _blocks(layer: Layer) -> int:
    return layer.images * math.ceil(layer.out_height / BLOCK) * math.ceil(layer.out_width / BLOCK)


@jit
def _origin(block: int, layer: Layer) -> tuple[int, int, int]:
    """Image, first output row and first output column of a block."""
    across, down = (layer.out_width + BLOCK - 1) // BLOCK, (layer.out_height + BLOCK - 1) // BLOCK
    image, rest = divmod(block, across * down)
    return image, rest // across * BLOCK, rest % across * BLOCK


@jit
def _input_1d(d0: Any, d1: Any, d2: Any, d3: Any) -> Any:
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


@jit
def _output_1d(m0: Any, m1: Any, m2: Any, m3: Any) -> Any:
    return m0 + (m1 + m2), (m1 - m2) - m3


@jit
def _weight_1d(g0: Any, g1: Any, g2: Any) -> Any:
    s = g0 + g2
    return g0, 0.5 * (s + g1), 0.5 * (s - g1), g2


@jit
def _store_row(values: Any, out: Array, to: int, step: int) -> None:
    """Store four vectors, `step` elements apart."""
    v0, v1, v2, v3 = values
    store(out, to, v0)
    store(out, to + step, v1)
    store(out, to + 2 * step, v2)
    store(out, to + 3 * step, v3)


@jit
def _transform_input(x: Array, first: int, row: int, pixel: int, out: Array, to: int, step: int) -> None:
    """4×4 pixels at x[first + i · row + j · pixel] → 16 positions, `step` elements apart."""
    half = tile(4, 4)
    for j in range(4):
        p = first + j * pixel
        half[0, j], half[1, j], half[2, j], half[3, j] = _input_1d(
            load(x, p), load(x, p + row), load(x, p + 2 * row), load(x, p + 3 * row)
        )
    for i in range(4):
        _store_row(_input_1d(half[i, 0], half[i, 1], half[i, 2], half[i, 3]), out, to + 4 * i * step, step)


@jit
def _transform_output(m: Array, first: int, step: int, half: Any, block: Any) -> None:
    """16 positions → a tile of 2×2 outputs; `half` is a free tile of 2×4."""
    for j in range(4):
        p = first + j * step
        half[0, j], half[1, j] = _output_1d(
            load(m, p), load(m, p + 4 * step), load(m, p + 8 * step), load(m, p + 12 * step)
        )
    for i in range(2):
        block[i, 0], block[i, 1] = _output_1d(half[i, 0], half[i, 1], half[i, 2], half[i, 3])


@jit
def _transform_weight(w: Array, first: int, row: int, tap: int, out: Array, to: int, step: int) -> None:
    """3×3 taps at w[first + i · row + j · tap] → 16 positions, `step` elements apart."""
    half = tile(4, 3)
    for j in range(3):
        p = first + j * tap
        half[0, j], half[1, j], half[2, j], half[3, j] = _weight_1d(load(w, p), load(w, p + row), load(w, p + 2 * row))
    for i in range(4):
        _store_row(_weight_1d(half[i, 0], half[i, 1], half[i, 2]), out, to + 4 * i * step, step)


@jit
def _transform_blocks(
    x: Array, layer: Layer, first: int, count: int, panels: Array, channel_step: int, position_step: int, padded: Array
) -> None:
    """Transform what blocks first … first + count see into panels[position][channel / LANES][block][LANES]."""
    height, width, channels = layer.height, layer.width, layer.channels
    for t in range(count):
        image, y, z = _origin(first + t, layer)
        top, left = y + layer.top, z + layer.left
        inside = top >= 0 and left >= 0 and top + SEEN <= height and left + SEEN <= width
        start = image * height * width * channels
        for c in range(channels // LANES):
            place = c * channel_step + t * LANES
            if inside:
                seen = start + (top * width + left) * channels + c * LANES
                _transform_input(x, seen, width * channels, channels, panels, place, position_step)
            else:
                copy_clipped(x, start + c * LANES, height, width, channels, top, left, SEEN, padded)
                _transform_input(padded, 0, SEEN * LANES, LANES, panels, place, position_step)


@parallel_jit
def transform_weights(w: Array, outputs: int, channels: int, u: Array, scratch: Array) -> None:
    """Weights w (outputs, 3, 3, channels) → u[position][output / TILE_WIDTH][channel][TILE_WIDTH]."""
    panels = channels // LANES
    for task in prange(outputs // LANES * panels):
        mine = scratch[thread_id()]
        k, c = task // panels * LANES, task % panels * LANES
        for m in range(LANES):
            first = (k + m) * 9 * channels + c
            _transform_weight(w, first, 3 * channels, channels, mine, m * LANES, LANES * LANES)
        block = tile(LANES, 1)
        for position in range(POSITIONS):
            for m in range(LANES):
                block[m, 0] = load(mine, (position * LANES + m) * LANES)
            transpose(block)
            to = ((position * outputs + k // TILE_WIDTH * TILE_WIDTH) * channels) + c * TILE_WIDTH + k % TILE_WIDTH
            for m in range(LANES):
                store(u, to + m * TILE_WIDTH, block[m, 0])


@parallel_jit
def transform_flipped_weights(w: Array, outputs: int, channels: int, u: Array) -> None:
    """As transform_weights for the input gradient: taps reversed, inputs and outputs exchanged.

    u[position][channel / TILE_WIDTH][output][TILE_WIDTH]
    """
    for k in prange(outputs):
        for c in range(0, channels, LANES):
            last = (k * 9 + 8) * channels + c
            to = c // TILE_WIDTH * TILE_WIDTH * outputs + k * TILE_WIDTH + c % TILE_WIDTH
            _transform_weight(w, last, -3 * channels, -channels, u, to, channels * outputs)


@jit
def _store_block(
    block: Any, bias: Array, residual: Array, y: Array, layer: Layer, origin: tuple[int, int, int], column: int,
    low: float, high: float,
) -> None:  # fmt: skip
    """Store what of a tile of 2×2 outputs lies inside the image, plus bias and residual, clipped."""
    image, top, left = origin
    lowest, highest = splat(low), splat(high)
    start = zero()
    if bias.size > 0:
        start = load(bias, column)
    for i in range(BLOCK):
        for j in range(BLOCK):
            if top + i < layer.out_height and left + j < layer.out_width:
                place = ((image * layer.out_height + top + i) * layer.out_width + left + j) * layer.outputs + column
                value = block[i, j] + start
                if residual.size > 0:
                    value = value + load(residual, place)
                store(y, place, at_most(highest, at_least(lowest, value)))


@parallel_jit
def _convolve(
    x: Array, geometry: tuple[int, ...], u: Array, bias: Array, residual: Array, y: Array, blocks: int,
    low: float, high: float, per_task: int, scratch: Array,
) -> None:  # fmt: skip
    layer = Layer(*geometry)
    depth_panels, outputs, channels = layer.channels // LANES, layer.outputs, layer.channels
    panel = (per_task + TILE_ROWS) * LANES
    products = depth_panels * POSITIONS * panel
    for task in prange((blocks + per_task - 1) // per_task):
        mine = scratch[thread_id()]
        padded = mine[mine.size - POSITIONS * LANES :]
        first = task * per_task
        count = min(per_task, blocks - first)
        _transform_blocks(x, layer, first, count, mine, panel, depth_panels * panel, padded)
        for column in range(0, outputs, TILE_WIDTH):
            for position in range(POSITIONS):
                multiply_rows(
                    count, mine, position * depth_panels * panel, panel, depth_panels,
                    u, (position * outputs + column) * channels, bias[:0], 0, bias[:0],
                    mine, products + position * per_task * TILE_WIDTH, TILE_WIDTH, TILE_WIDTH, LOWEST, HIGHEST,
                )  # fmt: skip
            for t in range(count):
                origin = _origin(first + t, layer)
                for n in range(0, TILE_WIDTH, LANES):
                    half, block = tile(BLOCK, SEEN), tile(BLOCK, BLOCK)
                    _transform_output(mine, products + t * TILE_WIDTH + n, per_task * TILE_WIDTH, half, block)
                    _store_block(block, bias, residual, y, layer, origin, column + n, low, high)


def _blocks_per_task(blocks: int) -> int:
    """Share the blocks evenly: whole tiles when there are plenty, equal parts when there are few."""
    rounds = math.ceil(blocks / (threads() * MAX_BLOCKS))
    return math.ceil(blocks / (threads() * rounds)) if rounds <= 2 else MAX_BLOCKS


def convolve_scratch(layer: Layer) -> tuple[Spec]:
    """Return the scratch that `convolve` needs: a row per thread."""
    per_task = _blocks_per_task(_blocks(layer))
    return (Spec((threads(), POSITIONS * ((per_task + TILE_ROWS) * layer.channels + per_task * TILE_WIDTH + LANES))),)


def transformed_weights(outputs: int, channels: int) -> Spec:
    """Return the transformed weights."""
    return Spec((POSITIONS * outputs * channels,))


def weight_scratch() -> Spec:
    """Return what `transform_weights` needs per thread."""
    return Spec((threads(), POSITIONS * LANES * LANES))


def cost(layer: Layer, transformed_once: bool) -> float:
    """Estimate the seconds of `convolve`."""
    blocks = _blocks(layer)
    work = 2 * POSITIONS * up(blocks, HALF_ROWS) * layer.channels * layer.outputs
    weights = BYTES * POSITIONS * layer.channels * layer.outputs
    moved = BYTES * POSITIONS * blocks * (2 * layer.channels + 2 * layer.outputs)
    moved += (math.ceil(blocks / MAX_BLOCKS) - 1) * weights
    return seconds(work, PRODUCT_RATE, weights * (1 if transformed_once else 2), moved)


def convolve(
    x: Array, layer: Layer, u: Array, out: Array, scratch: Array, bias: Array, residual: Array, limits: tuple[Any, Any]
) -> None:
    """Out = clip(3×3 convolution of x with transformed weights + bias + residual, *limits)."""
    blocks = _blocks(layer)
    _convolve(
        x.reshape(-1), tuple(layer), u, bias, residual.reshape(-1), out.reshape(-1), blocks, *limits,
        _blocks_per_task(blocks), scratch,
    )  # fmt: skip
