"""Depthwise convolutions of 16-bit numbers: direct loops over the taps of every output's vectors of channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES
from edge_sdk.kernels.cpu.simd_halves import load_halves, load_some_halves, store_halves, store_some_halves
from edge_sdk.kernels.cpu.simd_integers import (
    load_integers,
    multiply_add,
    splat_integer,
)
from edge_sdk.kernels.cpu.simd_rescaling import load_factors, rescale_halves
from edge_sdk.ops.conv import DepthwiseConv2D
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling
from edge_sdk.spec import Array, Spec

MOST_TAPS = (2**31 - 1) // (32768 * 127)
"""How many products an int32 holds the sum of, whatever they are."""


@jit
def _first_tap(start: int, dilation: int) -> int:
    """The first tap of a window from pixel `start` on that is inside the image."""
    return 0 if start >= 0 else (-start + dilation - 1) // dilation


@jit
def _end_of_taps(start: int, dilation: int, extent: int, taps: int) -> int:
    """One more than the last tap that is."""
    return 0 if start >= extent else min(taps, (extent - start + dilation - 1) // dilation)


@parallel_jit
def _depthwise(
    x: Array, height: int, width: int, weights: Array, rows: int, columns: int, starts: Array, factors: Array,
    out: Array, images: int, out_height: int, out_width: int, channels: int, stride: tuple[int, int],
    dilation: tuple[int, int], top: int, left: int, low: int, high: int,
) -> None:  # fmt: skip
    whole = (channels + LANES - 1) // LANES * LANES
    for task in prange(images * out_height):
        image, p = task // out_height, task % out_height
        lowest, highest, nothing = splat_integer(low), splat_integer(high), splat_integer(0)
        i = p * stride[0] - top
        first_row, end_row = _first_tap(i, dilation[0]), _end_of_taps(i, dilation[0], height, rows)
        for c in range(0, channels, LANES):
            count = channels - c
            factor, start = load_factors(factors, c, count), load_factors(starts, c, count)
            for q in range(out_width):
                j = q * stride[1] - left
                first, end = _first_tap(j, dilation[1]), _end_of_taps(j, dilation[1], width, columns)
                total = nothing
                for a in range(first_row, end_row):
                    row = (image * height + i + a * dilation[0]) * width + j
                    for b in range(first, end):
                        source, weight = (row + b * dilation[1]) * channels + c, (a * columns + b) * whole + c
                        seen = load_halves(x, source) if count >= LANES else load_some_halves(x, source, count)
                        total = multiply_add(total, seen, load_integers(weights, weight))
                value = rescale_halves(nothing, total, start, factor, lowest, highest)
                to = (task * out_width + q) * channels + c
                if count >= LANES:
                    store_halves(out, to, value)
                else:
                    store_some_halves(out, to, value, count)


def _is_small(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> bool:
    """Tell whether sums stay within 32 bits before the bias is added."""
    return w.shape[1] * w.shape[2] <= MOST_TAPS


def _scratch(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    repeated = (*x.shape[:3], w.shape[3]) if w.shape[3] > x.shape[3] else (0,)
    return Spec(repeated, "int16"), Spec((w.shape[3],), "int64")


def _form(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((w.shape[1] * w.shape[2], -(-w.shape[3] // LANES) * LANES), "int32"),)


def _pack(op: DepthwiseConv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    packed[0].fill(0)
    packed[0][:, : w.shape[3]] = w.reshape(-1, w.shape[3]).astype(np.int32) & 0xFFFF  # as multiply_add takes them


@kernel(
    DepthwiseConv2D,
    "cpu",
    algorithm="direct",
    quantized="int16",
    constants=product_rescaling,
    when=_is_small,
    scratch=_scratch,
    packing=Packing(1, _form, _pack),
)
def depthwise_conv2d(
    op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    n, h, width, c = x.shape
    repeated, starts = scratch
    starts[...] = 0 if b is None else b
    if repeated.size:  # several filters a channel
        repeated.reshape(n, h, width, c, -1)[...] = x[..., np.newaxis]
        x = repeated
    (top, _), (left, _) = resolve_padding(op.padding, (h, width), w.shape[1:3], op.stride, op.dilation)
    _depthwise(
        x.reshape(-1), h, width, packed[0].reshape(-1), *w.shape[1:3], starts, constants.factors, out.reshape(-1), n,
        *out.shape[1:], op.stride, op.dilation, top, left, constants.low, constants.high,
    )  # fmt: skip
