"""Depthwise convolutions and their gradients."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.geometry import geometry
from edge_sdk.kernels.gpu.launch import for_each, launch, nothing, sequence
from edge_sdk.kernels.gpu.products import Arithmetic, countable, part_terms, parts_of, sum_parts
from edge_sdk.ops.conv import DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight
from edge_sdk.spec import Array, Spec, dtype_of

CHUNK_BYTES = 16
"""What a thread reads and writes at once where it can."""
LANES, ROWS = 32, 8
"""Channels and pixels that a block of the weight gradient takes at a time (depthwise_conv.cu)."""


def forward(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None) -> Call:
    """Return the launch of a depthwise convolution."""
    if not out.size:
        return nothing()
    described = geometry(op, x.shape, out.shape, (w.shape[1], w.shape[2]))
    flags = (np.int32(b is not None), np.int32(ACTIVATIONS[op.activation]))
    values = (out, x, w, out if b is None else b, *flags, described)
    return _for_each_channel("depthwise_conv2d", *values)


@kernel(DepthwiseConv2D, "gpu", binds=True)
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> Call:
    return forward(op, out, x, w, b)


@kernel(DepthwiseConv2DGradInput, "gpu", binds=True)
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> Call:
    if not out.size:
        return nothing()
    described = geometry(op, out.shape, dy.shape, (w.shape[1], w.shape[2]))
    return _for_each_channel("depthwise_conv2d_grad_input", out, dy, w, described)


def _for_each_channel(name: str, out: Array, source: Array, w: Array, *rest: object) -> Call:
    """The launch of a kernel whose threads take a number of `out` each, or 16 bytes where a channel has one output."""
    address, count = current_driver().address, CHUNK_BYTES // out.dtype.itemsize
    alike = out.shape[3] == source.shape[3] and out.shape[3] % count == 0
    if not alike or any(address(array) % CHUNK_BYTES for array in (out, source, w)):
        return for_each("depthwise_conv", name, out.size, out, source, w, *rest, dtype=dtype_of(out))
    total = out.size // count
    return for_each("depthwise_conv", f"{name}_chunks", total, out, source, w, *rest, dtype=dtype_of(out))


def _blocks(op: DepthwiseConv2DGradWeight, outputs: int) -> int:
    """How many blocks sum over all pixels."""
    return math.prod(op.kernel_size) * -(-outputs // LANES)


def _weight_scratch(op: DepthwiseConv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    parts = parts_of(math.prod(dy.shape[:3]), _blocks(op, dy.shape[3]))
    return (Spec((parts, math.prod(op.kernel_size) * dy.shape[3])),)


@kernel(DepthwiseConv2DGradWeight, "gpu", scratch=_weight_scratch, binds=True)
def depthwise_conv2d_grad_weight(
    op: DepthwiseConv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> Call:
    if not out.size:
        return nothing()
    described = geometry(op, x.shape, dy.shape, op.kernel_size)
    blocks, pixels = _blocks(op, dy.shape[3]), math.prod(dy.shape[:3])
    grid = countable("depthwise_conv2d_grad_weight: blocks", blocks * scratch[0].shape[0])
    values = (scratch[0], dy, x, np.int32(part_terms(pixels, blocks)), described)
    name, by = "depthwise_conv2d_grad_weight", Arithmetic(dtype_of(dy))
    gather = launch("depthwise_conv", name, (grid, 1, 1), (LANES * ROWS, 1, 1), *values, dtype=by.dtype)
    return sequence([gather, sum_parts("depthwise_conv", out, scratch[0], by=by)])
