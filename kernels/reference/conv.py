"""Naive kernels of the conv family: the executable specification."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.reference.elementwise import activated
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradInputAdded,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.spec import Array

Convolution = (
    Conv2D
    | Conv2DGradInput
    | Conv2DGradWeight
    | ConvTranspose2D
    | DepthwiseConv2D
    | DepthwiseConv2DGradInput
    | DepthwiseConv2DGradWeight
)


def padded(op: Convolution, x: Array, kernel_size: Pair) -> Array:
    """X with its padding of zeros."""
    (top, bottom), (left, right) = resolve_padding(op.padding, x.shape[1:3], kernel_size, op.stride, op.dilation)
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def taps(op: Convolution, kernel_size: Pair, out_size: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    """For each kernel position (i, j) the rows and columns of the padded image that it meets, one per output pixel."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            row, column = i * op.dilation[0], j * op.dilation[1]
            rows = slice(row, row + (out_size[0] - 1) * op.stride[0] + 1, op.stride[0])
            columns = slice(column, column + (out_size[1] - 1) * op.stride[1] + 1, op.stride[1])
            yield i, j, rows, columns


def by_group(op: Conv2D | Conv2DGradInput | Conv2DGradWeight | ConvTranspose2D, pixels: Array) -> Array:
    """Pixels (n, p, q, c) as one matrix a group: (groups, n · p · q, c / groups)."""
    n, p, q, c = pixels.shape
    return pixels.reshape(n * p * q, op.groups, c // op.groups).transpose(1, 0, 2)


@kernel(Conv2D, "reference")
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None) -> None:
    n, p, q, k = out.shape
    xp = padded(op, x, w.shape[1:3])
    y = np.zeros((op.groups, n * p * q, k // op.groups), x.dtype)
    wg = w.reshape(op.groups, k // op.groups, *w.shape[1:])
    for i, j, rows, columns in taps(op, w.shape[1:3], (p, q)):
        y += by_group(op, xp[:, rows, columns]) @ wg[:, :, i, j].transpose(0, 2, 1)
    added = (0 if b is None else b) + (0 if residual is None else residual)
    out[...] = activated(op.activation, y.transpose(1, 0, 2).reshape(out.shape) + added)


@kernel(Conv2DGradInput, "reference")
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array) -> None:
    n, p, q, k = dy.shape
    xp = padded(op, np.zeros_like(out), w.shape[1:3])
    wg = w.reshape(op.groups, k // op.groups, *w.shape[1:])
    for i, j, rows, columns in taps(op, w.shape[1:3], (p, q)):
        xp[:, rows, columns] += (by_group(op, dy) @ wg[:, :, i, j]).transpose(1, 0, 2).reshape(n, p, q, -1)
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, w.shape[1:3], op.stride, op.dilation)
    out[...] = xp[:, top : top + out.shape[1], left : left + out.shape[2]]


@kernel(Conv2DGradInputAdded, "reference")
def conv2d_grad_input_added(op: Conv2DGradInputAdded, out: Array, dy: Array, w: Array, other: Array) -> None:
    conv2d_grad_input(op.gradient, out, dy, w)
    out += other


@kernel(Conv2DGradWeight, "reference")
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array) -> None:
    p, q, k = dy.shape[1:]
    xp = padded(op, x, op.kernel_size)
    slopes = by_group(op, dy).transpose(0, 2, 1)
    for i, j, rows, columns in taps(op, op.kernel_size, (p, q)):
        out[:, i, j] = (slopes @ by_group(op, xp[:, rows, columns])).reshape(k, -1)


@kernel(ConvTranspose2D, "reference")
def conv_transpose2d(op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None) -> None:
    n, h, wide, _ = x.shape
    _, p, q, k = out.shape
    (top, bottom), (left, right) = op.padding
    whole = np.zeros((n, top + p + bottom, left + q + right, k), x.dtype)
    wg = w.reshape(op.groups, k // op.groups, *w.shape[1:])
    for i, j, rows, columns in taps(op, w.shape[1:3], (h, wide)):
        added = by_group(op, x) @ wg[:, :, i, j].transpose(0, 2, 1)
        whole[:, rows, columns] += added.transpose(1, 0, 2).reshape(n, h, wide, k)
    out[...] = activated(op.activation, whole[:, top : top + p, left : left + q] + (0 if b is None else b))


@kernel(DepthwiseConv2D, "reference")
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> None:
    p, q = out.shape[1:3]
    xp = np.repeat(padded(op, x, w.shape[1:3]), w.shape[3] // x.shape[3], axis=3)
    y = sum(xp[:, rows, columns] * w[0, i, j] for i, j, rows, columns in taps(op, w.shape[1:3], (p, q)))
    out[...] = activated(op.activation, y + (0 if b is None else b))


@kernel(DepthwiseConv2DGradInput, "reference")
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> None:
    n, p, q, _ = dy.shape
    xp = padded(op, np.zeros_like(out), w.shape[1:3])
    for i, j, rows, columns in taps(op, w.shape[1:3], (p, q)):
        xp[:, rows, columns] += (dy * w[0, i, j]).reshape(n, p, q, op.channels, -1).sum(axis=4)
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, w.shape[1:3], op.stride, op.dilation)
    out[...] = xp[:, top : top + out.shape[1], left : left + out.shape[2]]


@kernel(DepthwiseConv2DGradWeight, "reference")
def depthwise_conv2d_grad_weight(op: DepthwiseConv2DGradWeight, out: Array, dy: Array, x: Array) -> None:
    p, q = dy.shape[1:3]
    xp = np.repeat(padded(op, x, op.kernel_size), dy.shape[3] // x.shape[3], axis=3)
    for i, j, rows, columns in taps(op, op.kernel_size, (p, q)):
        out[0, i, j] = (xp[:, rows, columns] * dy).sum(axis=(0, 1, 2))
