"""Depthwise convolutions and their gradients: by strips where those fit, else pixel by pixel."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu import depthwise_strips as strips
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.geometry import geometry
from edge_sdk.kernels.gpu.launch import for_each, launch, nothing, sequence
from edge_sdk.kernels.gpu.products import countable, parts_of
from edge_sdk.ops.conv import DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight
from edge_sdk.spec import Array, Spec, accumulated, dtype_of, spec_of

LANES, ROWS = 32, 8
"""Channels and pixels that a block of the weight gradient takes at a time (depthwise_conv.cu)."""
SUM_LANES, SUM_ROWS = 32, 16
"""Threads that add up the parts of so many numbers (depthwise_weight.cu)."""


def forward(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None) -> Call:
    """Return the launch of a depthwise convolution."""
    if not out.size:
        return nothing()
    described = geometry(op, x.shape, out.shape, (w.shape[1], w.shape[2]))
    flags = (np.int32(b is not None), np.int32(ACTIVATIONS[op.activation]))
    values = (out, x, w, out if b is None else b, *flags, described)
    if strips.fit(op, w.shape[2], spec_of(x), spec_of(out)) and strips.are_aligned(out, x, w):
        return strips.forward(op, *values)
    return _for_each_channel("depthwise_conv2d", *values)


@kernel(DepthwiseConv2D, "gpu", binds=True)
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> Call:
    return forward(op, out, x, w, b)


@kernel(DepthwiseConv2DGradInput, "gpu", binds=True)
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> Call:
    if not out.size:
        return nothing()
    described = geometry(op, out.shape, dy.shape, (w.shape[1], w.shape[2]))
    if strips.fit(op, w.shape[2], spec_of(out), spec_of(dy)) and strips.are_aligned(out, dy, w):
        return strips.input_gradient(op, out, dy, w, described)
    return _for_each_channel("depthwise_conv2d_grad_input", out, dy, w, described)


def _for_each_channel(name: str, out: Array, source: Array, w: Array, *rest: object) -> Call:
    """The launch of a kernel whose threads take a number of `out` each, or 16 bytes where a channel has one output."""
    count = strips.CHUNK_BYTES // out.dtype.itemsize
    alike = out.shape[3] == source.shape[3] and out.shape[3] % count == 0
    if not alike or not strips.are_aligned(out, source, w):
        return for_each("depthwise_conv", name, out.size, out, source, w, *rest, dtype=dtype_of(out))
    total = out.size // count
    return for_each("depthwise_conv", f"{name}_chunks", total, out, source, w, *rest, dtype=dtype_of(out))


def _blocks(op: DepthwiseConv2DGradWeight, outputs: int) -> int:
    """How many blocks sum over all pixels."""
    return math.prod(op.kernel_size) * -(-outputs // LANES)


def _has_strips(op: DepthwiseConv2DGradWeight, dy: Spec, x: Spec) -> bool:
    return strips.fit(op, op.kernel_size[1], x, dy) and strips.weight_rows_fit(op)


def _weight_scratch(op: DepthwiseConv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    pixels, taps = math.prod(dy.shape[:3]), math.prod(op.kernel_size)
    many = _has_strips(op, dy, x)
    parts = strips.weight_parts(op, dy) if many else parts_of(pixels, _blocks(op, dy.shape[3]))
    return (Spec((parts, taps * dy.shape[3]), accumulated(dy.dtype)),)


@kernel(DepthwiseConv2DGradWeight, "gpu", scratch=_weight_scratch, binds=True)
def depthwise_conv2d_grad_weight(
    op: DepthwiseConv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> Call:
    if not out.size:
        return nothing()
    described = geometry(op, x.shape, dy.shape, op.kernel_size)
    if _has_strips(op, spec_of(dy), spec_of(x)) and strips.are_aligned(dy, x):
        gathered = strips.weight_gradient(op, scratch[0], dy, x, spec_of(dy), described)
    else:
        gathered = _weight_gradient(op, scratch[0], dy, x, described)
    return sequence([gathered, _summed(out, scratch[0], dtype_of(dy))])


def _weight_gradient(op: DepthwiseConv2DGradWeight, partial: Array, dy: Array, x: Array, described: np.void) -> Call:
    """The launch that makes the parts, each of so many pixels: the last may have none."""
    parts, blocks = partial.shape[0], _blocks(op, dy.shape[3])
    grid = countable("depthwise_conv2d_grad_weight: blocks", blocks * parts)
    values = (partial, dy, x, np.int32(-(-math.prod(dy.shape[:3]) // parts)), described)
    name, block = "depthwise_conv2d_grad_weight", (LANES * ROWS, 1, 1)
    return launch("depthwise_conv", name, (grid, 1, 1), block, *values, dtype=dtype_of(dy))


def _summed(out: Array, partial: Array, dtype: str) -> Call:
    """The launch that adds the parts up, in an order of their own; `dtype` is that of the factors."""
    name = "summed_parts" if dtype_of(out) == dtype else "summed_parts_unrounded"
    sizes = np.int32(partial.shape[0]), np.int32(out.size)
    grid = (-(-out.size // SUM_LANES), 1, 1)
    return launch("depthwise_weight", name, grid, (SUM_LANES, SUM_ROWS, 1), out, partial, *sizes, dtype=dtype)
