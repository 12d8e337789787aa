"""8-bit depthwise convolutions: direct loops over rows of the image copied with their padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.integer_tile import integer_tile
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.simd import LANES, splat
from edge_sdk.kernels.cpu.simd_integers import (
    BYTES,
    load_bytes,
    load_integers,
    load_octets,
    load_some_octets,
    multiply_add,
    splat_integer,
    splat_octets,
    store_bytes,
    store_octets,
    store_some_bytes,
)
from edge_sdk.kernels.cpu.simd_rescaling import load_factors, rescale
from edge_sdk.ops.conv import DepthwiseConv2D
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling, tensor_quant
from edge_sdk.spec import Array, Spec

PIXELS = 7  # of a row, whose sums of one vector of channels stay in registers
MOST_COPIED = 256 << 10  # bytes of a thread's copied rows


class Layer(NamedTuple):
    """Sizes of a depthwise convolution, of images (height, width, channels) to (out_height, out_width, channels)."""

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    stride_y: int
    stride_x: int
    top: int
    left: int
    dilation_y: int
    dilation_x: int
    out_height: int
    out_width: int

    @property
    def copied_width(self) -> int:
        """Pixels of a copied row: what the outputs see, and what a last, partial tile reads beyond."""
        tiles = math.ceil(self.out_width / PIXELS) * PIXELS
        return (tiles - 1) * self.stride_x + (self.columns - 1) * self.dilation_x + 1

    def copied_rows(self, block_rows: int) -> int:
        """Rows that `block_rows` rows of outputs see."""
        return (block_rows - 1) * self.stride_y + (self.rows - 1) * self.dilation_y + 1

    def block_rows(self, images: int) -> int:
        """How many rows of outputs one task computes: no result depends on it."""
        row = self.copied_width * self.channels
        fitting = (MOST_COPIED // max(row, 1) - (self.rows - 1) * self.dilation_y - 1) // self.stride_y + 1
        even = math.ceil(self.out_height * images / (4 * threads()))
        return max(1, min(fitting, even, self.out_height))


@lru_cache(1024)
def _layer(op: DepthwiseConv2D, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...]) -> Layer:
    (top, _), (left, _) = resolve_padding(op.padding, (x[1], x[2]), (w[1], w[2]), op.stride, op.dilation)
    return Layer(x[1], x[2], w[3], w[1], w[2], *op.stride, -top, -left, *op.dilation, out[1], out[2])


@jit
def _fill(out: Array, to: int, count: int, value: int) -> None:
    outside = splat_octets(value)
    for v in range(0, count, BYTES):
        store_octets(out, to + v, outside)


@jit
def _copy(x: Array, source: int, count: int, out: Array, to: int) -> None:
    for v in range(0, count, BYTES):
        if source + v + BYTES <= x.size:
            store_octets(out, to + v, load_octets(x, source + v))
        else:
            store_octets(out, to + v, load_some_octets(x, source + v, x.size - source - v))


@jit
def _copy_rows(
    x: Array, layer: Layer, image: int, first: int, count: int, width: int, repeat: int, zero: int, out: Array
) -> None:
    """Copy `count` rows of an image from row `first` on, `width` pixels each; outside it lies the zero point.

    With `repeat` filters a channel, each channel is copied that often.
    """
    pixel = layer.channels
    inside = min(layer.width, width + layer.left)  # columns of the image that are seen
    for r in range(count):
        i, to = first + r, r * width * pixel
        if not 0 <= i < layer.height:
            _fill(out, to, width * pixel, zero)
            continue
        before = -layer.left
        # In order: the excess of one part is overwritten by the next.
        _fill(out, to, before * pixel, zero)
        source = (image * layer.height + i) * layer.width * (pixel // repeat)
        if repeat == 1:
            _copy(x, source, inside * pixel, out, to + before * pixel)
        else:
            for e in range(inside * pixel):
                out[to + before * pixel + e] = x[source + e // repeat]
        _fill(out, to + (before + inside) * pixel, (width - before - inside) * pixel, zero)


@jit
def _row_of_outputs(
    seen: Array, first: int, layer: Layer, width: int, weights: Array, starts: Array, factors: Array,
    out: Array, to: int, zero: int, low: float, high: float,
) -> None:  # fmt: skip
    """One row of outputs, from the copied row that starts at seen[first]."""
    channels, step = layer.channels, layer.stride_x * layer.channels
    whole = (channels + LANES - 1) // LANES * LANES
    lowest, highest, zeros = splat(low), splat(high), splat_integer(zero)
    sums = integer_tile(PIXELS, 1)
    for j in range(0, layer.out_width, PIXELS):
        left = first + j * step
        for c in range(0, channels, LANES):
            start = load_integers(starts, c)
            for m in range(PIXELS):
                sums[m, 0] = start
            weight = c
            for a in range(layer.rows):
                place = left + a * layer.dilation_y * width * channels + c
                for _ in range(layer.columns):
                    factor = load_integers(weights, weight)
                    for m in range(PIXELS):
                        sums[m, 0] = multiply_add(sums[m, 0], load_bytes(seen, place + m * step), factor)
                    weight += whole
                    place += layer.dilation_x * channels
            count = channels - c
            scale = load_factors(factors, c, count)
            for m in range(PIXELS):
                if j + m < layer.out_width:
                    value = rescale(sums[m, 0], scale, lowest, highest) + zeros
                    if count >= LANES:
                        store_bytes(out, to + (j + m) * channels + c, value)
                    else:
                        store_some_bytes(out, to + (j + m) * channels + c, value, count)


@parallel_jit
def _depthwise(
    x: Array, sizes: tuple[int, ...], images: int, repeat: int, input_zero: int, weights: Array, offsets: Array,
    bias: Array, factors: Array, out: Array, zero: int, low: float, high: float, block_rows: int, width: int,
    scratch: Array, starts: Array,
) -> None:  # fmt: skip
    layer = Layer(*sizes)
    for c in range(layer.channels):
        starts[c] = offsets[c] + (bias[c] if bias.size > 0 else 0)
    blocks = (layer.out_height + block_rows - 1) // block_rows
    for task in prange(images * blocks):
        mine = scratch[thread_id()]
        image, top = task // blocks, task % blocks * block_rows
        count = min(block_rows, layer.out_height - top)
        rows = (count - 1) * layer.stride_y + (layer.rows - 1) * layer.dilation_y + 1
        _copy_rows(x, layer, image, top * layer.stride_y + layer.top, rows, width, repeat, input_zero, mine)
        for i in range(count):
            _row_of_outputs(
                mine, i * layer.stride_y * width * layer.channels, layer, width, weights, starts, factors,
                out, (image * layer.out_height + top + i) * layer.out_width * layer.channels, zero, low, high,
            )  # fmt: skip


def _whole(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _scratch(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    layer = _layer(op, x.shape, w.shape, op.infer_outputs((x, w))[0].shape)
    rows = layer.copied_rows(layer.block_rows(x.shape[0]))
    size = rows * layer.copied_width * layer.channels + 2 * BYTES
    return Spec((threads(), -(-size // BYTES) * BYTES), "int8"), Spec((_whole(w.shape[3]),), "int32")


def _form(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return Spec((w.shape[1] * w.shape[2], _whole(w.shape[3])), "int32"), Spec((w.shape[3],), "int32")


def _pack(op: DepthwiseConv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    weights, offsets = packed
    taps = w.reshape(-1, w.shape[3])
    weights.fill(0)
    weights[:, : w.shape[3]] = taps.astype(np.int32) & 0xFFFF  # as multiply_add takes them
    offsets[...] = -tensor_quant(inputs[0])[1] * taps.sum(axis=0, dtype=np.int32)


@kernel(
    DepthwiseConv2D,
    "cpu",
    algorithm="bytes, direct",
    quantized=True,
    constants=product_rescaling,
    scratch=_scratch,
    packing=Packing(1, _form, _pack),
)
def depthwise_conv2d(
    op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    if out.size == 0:
        return
    layer = _layer(op, x.shape, w.shape, out.shape)
    (weights, offsets), (copied, starts), zero = packed, scratch, constants.zero_point
    _depthwise(
        x.reshape(-1), tuple(layer), x.shape[0], w.shape[3] // x.shape[3], constants.input_zeros[0],
        weights.reshape(-1), offsets, offsets[:0] if b is None else b, constants.factors, out.reshape(-1), zero,
        float(constants.low - zero), float(constants.high - zero), layer.block_rows(x.shape[0]), layer.copied_width,
        copied, starts,
    )  # fmt: skip
