"""Convolutions and their gradients as products of matrices, and transposed convolutions."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.geometry import geometry
from edge_sdk.kernels.gpu.launch import nothing, sequence
from edge_sdk.kernels.gpu.products import (
    Plan,
    arithmetic,
    is_unrounded,
    launch_tiles,
    plan,
    sum_parts,
    whole_sums,
)
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradInputAdded, Conv2DGradWeight, ConvTranspose2D
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
    planned = whole_sums(n * p * q, k // op.groups, math.prod(w.shape[1:]), op.groups)
    by = arithmetic(x, op.precision)
    return launch_tiles("conv", "conv2d", planned, out, x, w, *added, *map(np.int32, flags), described, by=by)


@kernel(Conv2D, "gpu", binds=True)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None) -> Call:
    return forward(op, out, x, w, b, residual)


@kernel(Conv2DGradInput, "gpu", binds=True)
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array) -> Call:
    return _input_gradient(op, out, dy, w, None)


@kernel(Conv2DGradInputAdded, "gpu", binds=True)
def conv2d_grad_input_added(op: Conv2DGradInputAdded, out: Array, dy: Array, w: Array, other: Array) -> Call:
    return _input_gradient(op.gradient, out, dy, w, other)


def _input_gradient(op: Conv2DGradInput, out: Array, dy: Array, w: Array, other: Array | None) -> Call:
    added = (dy if other is None else other, np.int32(other is not None))
    return _backward("conv2d_grad_input", op, out, dy, (w.shape[1], w.shape[2]), w, *added)


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
    terms = -(-math.prod(kernel) // math.prod(op.stride)) * result.shape[3] // op.groups
    planned = whole_sums(rows, c // op.groups, terms, op.groups * math.prod(op.stride))
    by = arithmetic(result, getattr(op, "precision", "float32"))
    return launch_tiles("conv", name, planned, image, result, *rest, described, by=by)


def _weight_plan(op: Conv2DGradWeight, dy: tuple[int, ...], x: tuple[int, ...]) -> Plan:
    columns = math.prod(op.kernel_size) * (x[3] // op.groups)
    return plan(dy[3] // op.groups, columns, math.prod(dy[:3]), op.groups)


def _weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return _weight_plan(op, dy.shape, x.shape).scratch


@kernel(Conv2DGradWeight, "gpu", scratch=_weight_scratch, binds=True)
def conv2d_grad_weight(
    op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> Call:  # fmt: skip
    if not out.size:
        return nothing()
    planned, by = _weight_plan(op, dy.shape, x.shape), arithmetic(dy, op.precision)
    described = geometry(op, x.shape, dy.shape, op.kernel_size)
    target, in_full = (scratch[0], True) if scratch else (out, is_unrounded(out, by))
    name = "conv2d_grad_weight_parts" if in_full else "conv2d_grad_weight"
    first = launch_tiles("conv", name, planned, target, dy, x, np.int32(planned.part_terms), described, by=by)
    return sequence([first, sum_parts("conv", out, scratch[0], by=by)]) if scratch else first
