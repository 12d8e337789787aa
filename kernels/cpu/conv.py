"""Convolutions: matrix products that read their patches from the image; depthwise ones are direct loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.depthwise import (
    add_parts,
    backward_taps,
    column_taps,
    forward_taps,
    sum_products,
    sum_taps,
    sum_taps_multiplied,
)
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import multiply, multiply_scratch
from edge_sdk.kernels.cpu.packing import flipped, matrix, patches
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.spec import Array, Spec

Depthwise: TypeAlias = DepthwiseConv2D | DepthwiseConv2DGradInput | DepthwiseConv2DGradWeight

PARTS = 16  # of a sum over images and rows; fixed, so that the bytes do not depend on the number of threads


def _is_pointwise(op: Conv2D | Conv2DGradInput | Conv2DGradWeight, kernel_size: tuple[int, int]) -> bool:
    """Whether the convolution is a plain matrix product on the rows of pixels."""
    padding = op.padding if isinstance(op.padding, str) else sum(map(sum, op.padding))
    return kernel_size == (1, 1) and op.stride == (1, 1) and padding in ("same", "valid", 0)


def _forward_scratch(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    n, p, q, k = op.infer_outputs((x, w))[0].shape
    return multiply_scratch(n * p * q, k // op.groups, w.elements // k)


def _is_plain_product(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None) -> bool:
    return _is_pointwise(op, (w.shape[1], w.shape[2])) and op.groups == 1


@kernel(Conv2D, "cpu", algorithm="gemm 1x1", when=_is_plain_product, scratch=_forward_scratch)
def conv2d_pointwise(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]
) -> None:
    k, c = w.shape[0], w.shape[3]
    multiply(x, matrix(c, 1), w, matrix(1, c), out, x.size // c, k, c, scratch, b, op.activation)


@kernel(Conv2D, "cpu", algorithm="gemm patches", scratch=_forward_scratch)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> None:
    n, p, q, k = out.shape
    kernel_size, size = w.shape[1:3], x.shape[1:3]
    (top, _), (left, _) = resolve_padding(op.padding, size, kernel_size, op.stride, op.dilation)
    outputs, channels, depth = k // op.groups, w.shape[3], w.size // k
    for group in range(op.groups):
        seen = patches(
            x.shape[1:], (p, q), kernel_size, op.stride, (top, left), op.dilation, channels=(group * channels, channels)
        )
        bias = None if b is None else b[group * outputs : (group + 1) * outputs]
        weights = matrix(1, depth, group * outputs * depth)
        multiply(x, seen, w, weights, out, n * p * q, outputs, depth, scratch, bias, op.activation, group * outputs, k)


def _grad_input_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    pixels = dy.shape[0] * op.input_size[0] * op.input_size[1]
    return multiply_scratch(pixels, w.shape[3], w.elements // w.shape[3] // op.groups)


@kernel(Conv2DGradInput, "cpu", scratch=_grad_input_scratch)
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...]) -> None:
    """A convolution of dy, spread apart by the stride, with the reversed weights."""
    n, h, wide, c = out.shape
    k, r, s, channels = w.shape
    outputs, taps = k // op.groups, r * s
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, (r, s), op.stride, op.dilation)
    before = ((r - 1) * op.dilation[0] - top, (s - 1) * op.dilation[1] - left)
    for group in range(op.groups):
        seen = patches(
            dy.shape[1:], (h, wide), (r, s), (1, 1), before, op.dilation, op.stride, (group * outputs, outputs)
        )
        if taps == 1 and op.stride == (1, 1) and before == (0, 0) and op.groups == 1:
            seen = matrix(k, 1)
        weights = flipped(outputs, taps, channels, group * outputs * taps * channels)
        multiply(
            dy, seen, w, weights, out, n * h * wide, channels, taps * outputs, scratch, start=group * channels, stride=c
        )


def _grad_weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    n, p, q, k = dy.shape
    columns = op.kernel_size[0] * op.kernel_size[1] * x.shape[3] // op.groups
    return multiply_scratch(k // op.groups, columns, n * p * q)


@kernel(Conv2DGradWeight, "cpu", scratch=_grad_weight_scratch)
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]) -> None:
    """dyᵀ times the patches."""
    n, p, q, k = dy.shape
    outputs, channels = k // op.groups, out.shape[3]
    columns = out.size // k
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], op.kernel_size, op.stride, op.dilation)
    for group in range(op.groups):
        seen = patches(
            x.shape[1:],
            (p, q),
            op.kernel_size,
            op.stride,
            (top, left),
            op.dilation,
            channels=(group * channels, channels),
        )
        if _is_pointwise(op, op.kernel_size) and op.groups == 1:
            seen = matrix(channels, 1)
        slopes = matrix(1, k, group * outputs)
        multiply(dy, slopes, x, seen, out, outputs, columns, n * p * q, scratch, start=group * outputs * columns)


def _axes(op: Depthwise, size: Pair, taps: Pair, cells: Pair) -> Iterator[tuple[int, int, int, int, int, int]]:
    """For rows and columns: outputs, pixels, taps, stride, padding before and dilation."""
    pads = resolve_padding(op.padding, size, taps, op.stride, op.dilation)
    for axis in (0, 1):
        yield cells[axis], size[axis], taps[axis], op.stride[axis], pads[axis][0], op.dilation[axis]


@kernel(DepthwiseConv2D, "cpu")
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> None:
    (n, h, wide, channels), (_, p, q, filters) = x.shape, out.shape
    rows, columns = (forward_taps(*axis) for axis in _axes(op, (h, wide), w.shape[1:3], (p, q)))
    flat = w.reshape(-1)
    arrays = (x.reshape(-1), flat, flat[:0] if b is None else b, out.reshape(-1))
    where = (w.shape[2], rows[0], columns[0], (rows[1], columns[1]), (rows[2], columns[2]), *LIMITS[op.activation])
    if filters == channels:
        sum_taps(*arrays, n, (h, wide), channels, *where)
    else:
        sum_taps_multiplied(*arrays, n, (h, wide), filters // channels, 1, filters, *where)


@kernel(DepthwiseConv2DGradInput, "cpu")
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> None:
    (n, h, wide, channels), (_, p, q, filters) = out.shape, dy.shape
    axes = _axes(op, (h, wide), w.shape[1:3], (p, q))
    rows, columns = (backward_taps(pixels, outputs, *rest) for outputs, pixels, *rest in axes)
    flat = w.reshape(-1)
    arrays = (dy.reshape(-1), flat, flat[:0], out.reshape(-1))
    where = (w.shape[2], rows[0], columns[0], (rows[1], columns[1]), (rows[2], columns[2]), *LIMITS[None])
    if filters == channels:
        sum_taps(*arrays, n, (p, q), channels, *where)
    else:
        sum_taps_multiplied(*arrays, n, (p, q), 1, filters // channels, filters, *where)


def _parts(op: DepthwiseConv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return (Spec((PARTS, op.kernel_size[0] * op.kernel_size[1], dy.shape[3])),)


@kernel(DepthwiseConv2DGradWeight, "cpu", scratch=_parts)
def depthwise_conv2d_grad_weight(
    op: DepthwiseConv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> None:
    (n, h, wide, channels), (_, p, q, filters) = x.shape, dy.shape
    row_axis, column_axis = _axes(op, (h, wide), op.kernel_size, (p, q))
    rows, columns = forward_taps(*row_axis)[0], column_taps(*column_axis)
    sum_products(
        dy.reshape(-1), x.reshape(-1), scratch[0], n, (h, wide), channels, filters // channels, q, rows, columns,
        op.stride[1], op.dilation[0],
    )  # fmt: skip
    add_parts(scratch[0], out.reshape(-1))
