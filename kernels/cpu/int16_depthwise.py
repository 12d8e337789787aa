"""Depthwise convolutions of 16-bit numbers: direct loops over the taps, channels innermost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.int16_rounding import long_product
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange, thread_id, threads
from edge_sdk.ops.conv import DepthwiseConv2D
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling
from edge_sdk.spec import Array, Spec

MOST_TAPS = (2**31 - 1) // (32768 * 127)
"""How many products an int32 holds the sum of, whatever they are."""


@jit
def _add_taps(x: Array, source: int, weights: Array, weight: int, channels: int, repeat: int, sums: Array) -> None:
    """Add one pixel's channels, each used `repeat` times, times one tap's weights."""
    if repeat == 1:
        for c in range(channels):
            sums[c] += np.int32(x[source + c]) * np.int32(weights[weight + c])
    else:
        for c in range(channels):
            sums[c] += np.int32(x[source + c // repeat]) * np.int32(weights[weight + c])


@parallel_jit
def _depthwise(
    x: Array, height: int, width: int, repeat: int, weights: Array, rows: int, columns: int, bias: Array,
    factors: Array, out: Array, images: int, out_height: int, out_width: int, channels: int,
    stride: tuple[int, int], dilation: tuple[int, int], top: int, left: int, low: int, high: int, scratch: Array,
) -> None:  # fmt: skip
    pixel = channels // repeat
    for task in prange(images * out_height):
        sums = scratch[thread_id()]
        image, p = task // out_height, task % out_height
        for q in range(out_width):
            for c in range(channels):
                sums[c] = 0
            for a in range(rows):
                i = p * stride[0] - top + a * dilation[0]
                if not 0 <= i < height:
                    continue
                for b in range(columns):
                    j = q * stride[1] - left + b * dilation[1]
                    if 0 <= j < width:
                        source = ((image * height + i) * width + j) * pixel
                        _add_taps(x, source, weights, (a * columns + b) * channels, channels, repeat, sums)
            to = (task * out_width + q) * channels
            for c in range(channels):
                total = np.int64(sums[c]) + bias[c]
                out[to + c] = min(max(long_product(total, factors[0, c], factors[1, c]), low), high)


def _is_small(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> bool:
    """Tell whether sums stay within 32 bits before the bias is added."""
    return w.shape[1] * w.shape[2] <= MOST_TAPS


def _scratch(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return Spec((threads(), -(-w.shape[3] // 16) * 16), "int32"), Spec((w.shape[3],), "int64")


def _form(op: DepthwiseConv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((w.elements,), "int16"),)


def _pack(op: DepthwiseConv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    packed[0][...] = w.reshape(-1)


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
    sums, starts = scratch
    starts[...] = 0 if b is None else b
    (top, _), (left, _) = resolve_padding(op.padding, (h, width), w.shape[1:3], op.stride, op.dilation)
    _depthwise(
        x.reshape(-1), h, width, w.shape[3] // c, packed[0], *w.shape[1:3], starts, constants.factors,
        out.reshape(-1), n, *out.shape[1:], op.stride, op.dilation, top, left, constants.low, constants.high, sums,
    )  # fmt: skip
