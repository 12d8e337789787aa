"""Convolutions of stored numbers, transposed ones, and dense layers: products of matrices, four channels at a time."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.geometry import GEOMETRY, geometry
from edge_sdk.kernels.gpu.integer_rescaling import factors_on_device, integer_kernel, storing
from edge_sdk.kernels.gpu.launch import launch, nothing
from edge_sdk.kernels.gpu.products import THREADS, countable, structure, tiles
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.ops.linear import Linear
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling, without_residual
from edge_sdk.spec import Array

POINT = (1, 1, 1, 1, 1, 0)
"""The struct Extent of an axis with one pixel."""


@integer_kernel(Conv2D, constants=product_rescaling, when=without_residual)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling) -> Call:
    if not out.size:
        return nothing()
    n, p, q, k = out.shape
    described = geometry(op, x.shape, out.shape, w.shape[1:3])
    blocks = tiles(n * p * q, k // op.groups) * op.groups
    return _product("conv2d", blocks, out, x, w, b, constants, described)


@integer_kernel(Linear, constants=product_rescaling)
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling) -> Call:
    if not out.size:
        return nothing()
    rows, outputs = countable("linear: rows", out.shape[0]), out.shape[1]
    depth = countable("linear: terms of a sum", x.shape[1])
    described = structure(GEOMETRY, (rows, depth, outputs, 1, POINT, POINT))
    return _product("conv2d", tiles(rows, outputs), out, x, w, b, constants, described)


@integer_kernel(ConvTranspose2D, constants=product_rescaling)
def conv_transpose2d(
    op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling
) -> Call:
    if not out.size:
        return nothing()
    n, h, width, k = out.shape
    described = geometry(op, out.shape, x.shape, (w.shape[1], w.shape[2]))
    rows = n * -(-h // op.stride[0]) * -(-width // op.stride[1])
    blocks = tiles(rows, k // op.groups) * op.groups * math.prod(op.stride)
    return _product("conv_transpose2d", blocks, out, x, w, b, constants, described)


def _product(
    name: str, blocks: int, out: Array, x: Array, w: Array, b: Array | None, scaling: Rescaling, described: np.void
) -> Call:
    """The launch of a kernel of integer_conv.cu, a block for each tile."""
    factors = factors_on_device(scaling)
    bias = factors if b is None else b.view(np.int32)
    words = 0 if b is None else b.dtype.itemsize // 4
    grid = (countable(f"{name}: blocks", blocks), 1, 1)
    numbers = (np.int32(words), np.int32(scaling.input_zeros[0]), storing(scaling), described)
    return launch(
        "integer_conv", name, grid, (THREADS, 1, 1), out, x, w, bias, factors, *numbers, dtype=x.dtype.name
    )  # fmt: skip
