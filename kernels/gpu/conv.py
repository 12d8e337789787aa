"""Convolutions and their gradients as products of matrices, and transposed convolutions."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.geometry import geometry
from edge_sdk.kernels.gpu.launch import nothing, sequence
from edge_sdk.kernels.gpu.products import (
    launch_tiles,
    part_terms,
    parts_of,
    parts_scratch,
    sum_parts,
    tiles,
)
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight, ConvTranspose2D
from edge_sdk.ops.geometry import Pair
from edge_sdk.spec import Array, Spec


def forward(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None, residual: Array | None) -> Call:
    """Return the launch of a convolution."""
    if not out.size:
        return nothing()
    n, p, q, k = out.shape
    described = geometry(op, x.shape, out.shape, w.shape[1:3])
    flags = (int(b is not None), int(residual is not None), ACTIVATIONS[op.activation])
    added = [out if one is None else one for one in (b, residual)]
    return launch_tiles(
        "conv", "conv2d", n * p * q, k // op.groups, op.groups, out, x, w, *added, *map(np.int32, flags), described,
        dtype=out.dtype.name,
    )  # fmt: skip


@kernel(Conv2D, "gpu", binds=True)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None) -> Call:
    return forward(op, out, x, w, b, residual)


@kernel(Conv2DGradInput, "gpu", binds=True)
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array) -> Call:
    return _backward("conv2d_grad_input", op, out, dy, (w.shape[1], w.shape[2]), w)


@kernel(ConvTranspose2D, "gpu", binds=True)
def conv_transpose2d(op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None) -> Call:
    flags = (np.int32(b is not None), np.int32(ACTIVATIONS[op.activation]))
    return _backward("conv_transpose2d", op, out, x, (w.shape[1], w.shape[2]), w, out if b is None else b, *flags)


def _backward(
    name: str, op: Conv2DGradInput | ConvTranspose2D, image: Array, result: Array, kernel: Pair, *rest: object
) -> Call:
    """Return the launch from the result of a convolution to its image, one product for each group and phase."""
    if not image.size:
        return nothing()
    described = geometry(op, image.shape, result.shape, kernel)
    n, h, w, c = image.shape
    rows = n * -(-h // op.stride[0]) * -(-w // op.stride[1])
    products = op.groups * math.prod(op.stride)
    return launch_tiles(
        "conv", name, rows, c // op.groups, products, image, result, *rest, described, dtype=image.dtype.name
    )  # fmt: skip


def _weight_sizes(op: Conv2DGradWeight, dy: tuple[int, ...], x: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Rows and columns of a group's weights, the terms of a sum, and how many blocks make all groups."""
    rows, columns = dy[3] // op.groups, math.prod(op.kernel_size) * (x[3] // op.groups)
    return rows, columns, math.prod(dy[:3]), tiles(rows, columns) * op.groups


def _weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    rows, columns, terms, blocks = _weight_sizes(op, dy.shape, x.shape)
    return parts_scratch(parts_of(terms, blocks), op.groups * rows * columns)


@kernel(Conv2DGradWeight, "gpu", scratch=_weight_scratch, binds=True)
def conv2d_grad_weight(
    op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> Call:  # fmt: skip
    if not out.size:
        return nothing()
    rows, columns, terms, blocks = _weight_sizes(op, dy.shape, x.shape)
    described = geometry(op, x.shape, dy.shape, op.kernel_size)
    parts, dtype = parts_of(terms, blocks), out.dtype.name
    target, name = (scratch[0], "conv2d_grad_weight_parts") if scratch else (out, "conv2d_grad_weight")
    values = (target, dy, x, np.int32(part_terms(terms, blocks)), described)
    first = launch_tiles("conv", name, rows, columns, op.groups * parts, *values, dtype=dtype)
    return sequence([first, sum_parts("conv", out, scratch[0])]) if scratch else first
