"""3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3): forward, input gradient and weight gradient.

Channels come in whole vectors, outputs in whole tiles; other shapes go the general way (conv.py). The error is some ten
times that of the direct sum: up to 2e-5 of the largest result.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import HALF_ROWS, PRODUCT_RATE, TILE_ROWS, TILE_WIDTH, multiply_rows, up
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.simd import LANES, at_least, at_most, load, splat, store, zero
from edge_sdk.kernels.cpu.simd_tile import tile, transpose
from edge_sdk.kernels.cpu.weight_gradient import GRADIENT_ROWS, add_gradient_tile
from edge_sdk.kernels.cpu.winograd_transforms import (
    BLOCK,
    POSITIONS,
    SEEN,
    transform_input,
    transform_output,
    transform_output_gradient,
    transform_weight,
    transform_weight_gradient,
)
from edge_sdk.spec import Array, Spec

LOWEST, HIGHEST = LIMITS[None]
MAX_BLOCKS = 32  # of outputs that one task transforms and multiplies at a time
SLICE_ELEMENTS = 1200 << 10  # of both transformed factors of a weight gradient: they stay in the last-level cache
CHUNK = 14  # blocks that one task transforms


class Layer(NamedTuple):
    """Images (height, width, channels) → (out_height, out_width, outputs); the first tap is at (top, left)."""

    images: int
    height: int
    width: int
    channels: int
    top: int
    left: int
    out_height: int
    out_width: int
    outputs: int

    @property
    def blocks(self) -> int:
        """4×4 blocks of outputs."""
        return self.images * math.ceil(self.out_height / BLOCK) * math.ceil(self.out_width / BLOCK)


@jit
def _origin(block: int, layer: Layer) -> tuple[int, int, int]:
    """Image, first output row and first output column of a block."""
    across, down = (layer.out_width + BLOCK - 1) // BLOCK, (layer.out_height + BLOCK - 1) // BLOCK
    image, rest = divmod(block, across * down)
    return image, rest // across * BLOCK, rest % across * BLOCK


@jit
def copy_clipped(
    x: Array, origin: int, height: int, width: int, channels: int, top: int, left: int, size: int, padded: Array
) -> None:
    """Copy size × size pixels of an image, one vector of channels deep, with zeros outside it."""
    for i in range(size):
        for j in range(size):
            y, z = top + i, left + j
            inside = 0 <= y < height and 0 <= z < width
            value = zero()
            if inside:
                value = load(x, origin + (y * width + z) * channels)
            store(padded, (i * size + j) * LANES, value)


@jit
def _transform_blocks(
    x: Array, layer: Layer, first: int, count: int, panels: Array, to: int, channel_step: int, position_step: int,
    padded: Array,
) -> None:  # fmt: skip
    """Transform what blocks first … first + count see into panels[position][channel / LANES][block][LANES]."""
    height, width, channels = layer.height, layer.width, layer.channels
    for t in range(count):
        image, y, z = _origin(first + t, layer)
        top, left = y + layer.top, z + layer.left
        inside = top >= 0 and left >= 0 and top + SEEN <= height and left + SEEN <= width
        start = image * height * width * channels
        for c in range(channels // LANES):
            place = to + c * channel_step + t * LANES
            if inside:
                seen = start + (top * width + left) * channels + c * LANES
                transform_input(x, seen, width * channels, channels, panels, place, position_step)
            else:
                copy_clipped(x, start + c * LANES, height, width, channels, top, left, SEEN, padded)
                transform_input(padded, 0, SEEN * LANES, LANES, panels, place, position_step)


@parallel_jit
def transform_weights(w: Array, outputs: int, channels: int, u: Array, scratch: Array) -> None:
    """Weights w (outputs, 3, 3, channels) → u[position][output / TILE_WIDTH][channel][TILE_WIDTH]."""
    panels = channels // LANES
    for task in prange(outputs // LANES * panels):
        mine = scratch[thread_id()]
        k, c = task // panels * LANES, task % panels * LANES
        for m in range(LANES):
            first = (k + m) * 9 * channels + c
            transform_weight(w, first, 3 * channels, channels, mine, m * LANES, LANES * LANES)
        block = tile(LANES, 1)
        for position in range(POSITIONS):
            for m in range(LANES):
                block[m, 0] = load(mine, (position * LANES + m) * LANES)
            transpose(block)
            to = ((position * outputs + k // TILE_WIDTH * TILE_WIDTH) * channels) + c * TILE_WIDTH + k % TILE_WIDTH
            for m in range(LANES):
                store(u, to + m * TILE_WIDTH, block[m, 0])


@parallel_jit
def transform_flipped_weights(w: Array, outputs: int, channels: int, u: Array, _scratch: Array) -> None:
    """Weights w (outputs, 3, 3, channels) for the input gradient: taps reversed, inputs and outputs exchanged.

    u[position][channel / TILE_WIDTH][output][TILE_WIDTH]
    """
    for k in prange(outputs):
        for c in range(0, channels, LANES):
            last = (k * 9 + 8) * channels + c
            to = c // TILE_WIDTH * TILE_WIDTH * outputs + k * TILE_WIDTH + c % TILE_WIDTH
            transform_weight(w, last, -3 * channels, -channels, u, to, channels * outputs)


@jit
def _store_block(
    block: Any, bias: Array, residual: Array, y: Array, layer: Layer, origin: tuple[int, int, int], column: int,
    low: float, high: float,
) -> None:  # fmt: skip
    """Store what of a tile of 4×4 outputs lies inside the image, plus bias and residual, clipped."""
    image, top, left = origin
    lowest, highest = splat(low), splat(high)
    start = zero()
    if bias.size > 0:
        start = load(bias, column)
    for i in range(BLOCK):
        for j in range(BLOCK):
            if top + i < layer.out_height and left + j < layer.out_width:
                pixel = (image * layer.out_height + top + i) * layer.out_width + left + j
                value = block[i, j] + start
                if residual.size > 0:
                    value = value + load(residual, pixel * layer.outputs + column)
                store(y, pixel * layer.outputs + column, at_most(highest, at_least(lowest, value)))


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
        _transform_blocks(x, layer, first, count, mine, 0, panel, depth_panels * panel, padded)
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
                    transform_output(mine, products + t * TILE_WIDTH + n, per_task * TILE_WIDTH, half, block)
                    _store_block(block, bias, residual, y, layer, origin, column + n, low, high)


def _blocks_per_task(blocks: int) -> int:
    """Share the blocks evenly: whole tiles when there are plenty, equal parts when there are few."""
    workers = threads()
    rounds = math.ceil(blocks / (workers * MAX_BLOCKS))
    return math.ceil(blocks / (workers * rounds)) if rounds <= 2 else 2 * TILE_ROWS


def fits(channels: int, outputs: int) -> bool:
    """Whether inputs and outputs are as `convolve` needs them."""
    return channels % LANES == 0 and outputs % TILE_WIDTH == 0


def convolve_scratch(layer: Layer) -> tuple[Spec]:
    """Return the scratch that `convolve` needs: a row per thread."""
    per_task = _blocks_per_task(layer.blocks)
    return (Spec((threads(), POSITIONS * ((per_task + TILE_ROWS) * layer.channels + per_task * TILE_WIDTH + LANES))),)


def transformed_weights(outputs: int, channels: int) -> tuple[Spec, Spec]:
    """Return the transformed weights, and what `transform_weights` needs per thread to make them."""
    return Spec((POSITIONS * outputs * channels,)), Spec((threads(), POSITIONS * LANES * LANES))


def cost(layer: Layer, transformed_once: bool) -> float:
    """Estimate the seconds of `convolve`."""
    rounds = math.ceil(layer.blocks / MAX_BLOCKS)
    work = 2 * POSITIONS * up(layer.blocks, HALF_ROWS) * layer.channels * layer.outputs
    weights = BYTES * POSITIONS * layer.channels * layer.outputs
    moved = BYTES * POSITIONS * layer.blocks * (2 * layer.channels + 2 * layer.outputs) + (rounds - 1) * weights
    # Weights transformed in each run are fetched to be written, written, and written back before they are read.
    return seconds(work, PRODUCT_RATE, weights * (1 if transformed_once else 4), moved)


def convolve(
    x: Array, layer: Layer, u: Array, out: Array, scratch: Array, bias: Array, residual: Array, limits: tuple[Any, Any]
) -> None:
    """Out = clip(3×3 convolution of x with transformed weights + bias + residual, *limits)."""
    _convolve(
        x.reshape(-1), tuple(layer), u, bias, residual.reshape(-1), out.reshape(-1), layer.blocks, *limits,
        _blocks_per_task(layer.blocks), scratch,
    )  # fmt: skip


@parallel_jit
def _weight_gradient(
    dy: Array, x: Array, geometry: tuple[int, ...], blocks: int, slice_size: int, panels: Array, slopes: Array,
    du: Array, scratch: Array,
) -> None:  # fmt: skip
    """Sum, over slices of blocks, transformed slopes · transformed inputs into du[position][output][channel]."""
    layer = Layer(*geometry)
    channels, outputs = layer.channels, layer.outputs
    input_panels, output_panels, panel = channels // LANES, outputs // LANES, slice_size * LANES
    for start in range(0, blocks, slice_size):
        count = min(slice_size, blocks - start)
        for chunk in prange((count + CHUNK - 1) // CHUNK):
            padded = scratch[thread_id()]
            first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, count)
            _transform_blocks(
                x, layer, start + first, last - first, panels, first * LANES, panel, input_panels * panel, padded
            )
            for t in range(first, last):
                image, top, left = _origin(start + t, layer)
                whole = top + BLOCK <= layer.out_height and left + BLOCK <= layer.out_width
                begin = image * layer.out_height * layer.out_width * outputs
                for k in range(output_panels):
                    to, step = k * panel + t * LANES, output_panels * panel
                    if whole:
                        origin = begin + (top * layer.out_width + left) * outputs + k * LANES
                        transform_output_gradient(dy, origin, layer.out_width * outputs, outputs, slopes, to, step)
                    else:
                        copy_clipped(
                            dy, begin + k * LANES, layer.out_height, layer.out_width, outputs, top, left, BLOCK, padded
                        )
                        transform_output_gradient(padded, 0, BLOCK * LANES, LANES, slopes, to, step)
        pairs = (input_panels + 1) // 2
        for task in prange(POSITIONS * pairs):
            position, c = task // pairs, task % pairs * 2
            left = (position * input_panels + c) * panel
            width = min(2, input_panels - c) * LANES
            right = left + panel if width > LANES else left
            for k in range(0, outputs, GRADIENT_ROWS):
                slope = (position * output_panels + k // LANES) * panel + k % LANES
                to = (position * outputs + k) * channels + c * LANES
                add_gradient_tile(
                    slopes, slope, panels, left, right, count, du, to, channels, GRADIENT_ROWS, width, start == 0
                )


@parallel_jit
def _transform_weight_gradients(du: Array, outputs: int, channels: int, dw: Array) -> None:
    for k in prange(outputs):
        for c in range(0, channels, LANES):
            to = k * 9 * channels + c
            transform_weight_gradient(du, k * channels + c, outputs * channels, dw, to, channels)


def _slice_size(layer: Layer) -> int:
    """Blocks whose transformed factors stay in cache; of the shapes alone, for it decides the order of the sums."""
    blocks, widest = layer.blocks, max(layer.channels, layer.outputs)
    return blocks if blocks <= 400 else min(blocks, max(2 * CHUNK, SLICE_ELEMENTS // (2 * POSITIONS * widest)))


def weight_gradient_scratch(layer: Layer) -> tuple[Spec, ...]:
    """Return the scratch that `weight_gradient` needs."""
    blocks = _slice_size(layer)
    return (
        Spec((threads(), POSITIONS * LANES)),
        Spec((POSITIONS * blocks * layer.channels,)),
        Spec((POSITIONS * blocks * layer.outputs,)),
        Spec((POSITIONS * layer.outputs * layer.channels,)),
    )


def weight_gradient_cost(layer: Layer) -> float:
    """Estimate the seconds of `weight_gradient`."""
    pairs = layer.channels * layer.outputs
    work = 2 * POSITIONS * layer.blocks * pairs
    # Transformed gradients are fetched, written and read; so are the gradients themselves, but not read.
    summed = BYTES * pairs * (3 * POSITIONS + 2 * 9)
    return seconds(work, PRODUCT_RATE, summed, 2 * BYTES * POSITIONS * layer.blocks * (layer.channels + layer.outputs))


def weight_gradient(dy: Array, x: Array, layer: Layer, out: Array, scratch: tuple[Array, ...]) -> None:
    """Out (outputs, 3, 3, channels) = the gradient of the weights."""
    own, panels, slopes, du = scratch
    _weight_gradient(
        dy.reshape(-1), x.reshape(-1), tuple(layer), layer.blocks, _slice_size(layer), panels, slopes, du, own
    )
    _transform_weight_gradients(du, layer.outputs, layer.channels, out.reshape(-1))
