"""Depthwise convolutions by strips of pixels: kernels 3 or 5 wide, strides of 1 or 2, one output a channel.

What is right for these alone is here; depthwise_conv.py asks `fit`, and has kernels for all others.
"""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.launch import launch
from edge_sdk.kernels.gpu.products import countable
from edge_sdk.ops.conv import DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight
from edge_sdk.spec import Array, Spec, dtype_of

WIDTHS, STRIDES = (3, 5), (1, 2)
"""Kernels and strides along a line that are compiled."""
CHUNK_BYTES = 16
"""What a thread reads and writes at once: so many bytes of channels."""
STRIP = 4
"""Pixels of a strip (strips.cuh)."""
THREADS, MOST_LANES, MOST_LINES = 256, 16, 16
"""Of a block: its threads, and at most how many are neighbours along channels, and along columns."""
BLOCKS, LEAST_PIXELS = 1024, 32
"""Into how many blocks a weight gradient is cut, and how many pixels each of their threads then has at least."""
MOST_GROUPS = 64
"""The most threads along the third axis of a block."""

Depthwise = DepthwiseConv2D | DepthwiseConv2DGradInput | DepthwiseConv2DGradWeight


def fit(op: Depthwise, width: int, image: Spec, result: Spec) -> bool:
    """Tell whether a convolution of this image, by kernels so many taps wide, goes by strips if addresses allow it."""
    channels = image.shape[3]
    whole = channels == result.shape[3] and channels * image.numpy_dtype.itemsize % CHUNK_BYTES == 0
    return whole and width in WIDTHS and op.stride[1] in STRIDES and op.dilation[1] == 1


def are_aligned(*arrays: Array) -> bool:
    """Tell whether all arrays begin where a chunk can be loaded."""
    return all(current_driver().address(array) % CHUNK_BYTES == 0 for array in arrays)


def forward(op: DepthwiseConv2D, out: Array, x: Array, w: Array, *rest: object) -> Call:
    """Return the launch of a convolution."""
    strips = -(-out.shape[2] // STRIP)
    return _by_strips(f"depthwise_conv2d_{_suffix(op, w.shape[2])}", strips, out, x, w, *rest)


def input_gradient(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array, described: np.void) -> Call:
    """Return the launch of the way back; strips begin at multiples of the stride."""
    early = int(described["horizontal"]["before"]) % op.stride[1]
    name = f"depthwise_conv2d_grad_input_{_suffix(op, w.shape[2])}"
    return _by_strips(name, -(-(out.shape[2] + early) // STRIP), out, dy, w, described)


def weight_parts(op: DepthwiseConv2DGradWeight, dy: Spec) -> int:
    """Return of how many parts a weight gradient is made."""
    n, p, q, _ = dy.shape
    lanes, tiles = _lanes(dy)
    groups = _groups(op, lanes)
    return max(min(BLOCKS // tiles, n * p * q // (groups * LEAST_PIXELS)), 1)


def weight_rows_fit(op: DepthwiseConv2DGradWeight) -> bool:
    """Tell whether a block has threads for all lines of taps."""
    return op.kernel_size[0] * MOST_LANES <= THREADS


def weight_gradient(
    op: DepthwiseConv2DGradWeight, partial: Array, dy: Array, x: Array, spec: Spec, described: np.void
) -> Call:
    """Return the launch that makes the parts (part, taps · channels); `spec` is that of dy."""
    lanes, tiles = _lanes(spec)
    block = (lanes, op.kernel_size[0], _groups(op, lanes))
    name = f"depthwise_conv2d_grad_weight_{_suffix(op, op.kernel_size[1])}"
    given = (partial, dy, x, np.int32(partial.shape[0]), described)
    return launch("depthwise_weight", name, (tiles * partial.shape[0], 1, 1), block, *given, dtype=dtype_of(dy))


def _by_strips(name: str, strips: int, out: Array, *rest: object) -> Call:
    """The launch whose threads take `strips` of each line of `out`, neighbours in a block in all directions."""
    lanes, tiles = _lanes(Spec(out.shape, dtype_of(out)))
    lines = math.prod(out.shape[:2])
    across = min(strips, 2 if 2 * lanes > MOST_LANES else 4)
    down = min(lines, THREADS // (lanes * across), MOST_LINES)
    blocks = countable(f"{name}: blocks", tiles * -(-strips // across) * -(-lines // down))
    return launch("depthwise_strip", name, (blocks, 1, 1), (lanes, across, down), out, *rest, dtype=dtype_of(out))


def _lanes(pixels: Spec) -> tuple[int, int]:
    """Threads along the channels, and blocks: as many threads in each as there can be."""
    chunks = pixels.shape[3] * pixels.numpy_dtype.itemsize // CHUNK_BYTES
    tiles = -(-chunks // MOST_LANES)
    return -(-chunks // tiles), tiles


def _groups(op: DepthwiseConv2DGradWeight, lanes: int) -> int:
    """Groups of a block, each with threads for all lines of taps."""
    return min(THREADS // (lanes * op.kernel_size[0]), MOST_GROUPS)


def _suffix(op: Depthwise, width: int) -> str:
    return f"{width}_{op.stride[1]}"
