"""Naive kernels of quantized values: the executable specification of inference on 8 and on 16 bits.

Stored numbers are taken back to exact integers x - zero_point, combined in int64, and stored as edge_sdk/quantization/
arithmetic.py says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edge_sdk.kernel import Function, kernel
from edge_sdk.kernels.reference import conv, pool, shape
from edge_sdk.kernels.reference.conv import padded, taps
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Softmax, Tanh
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.arithmetic import (
    LOWEST,
    FixedSummation,
    Rescaling,
    Slopes,
    Summation,
    mean_of_axes,
    mean_of_pixels,
    multiplication,
    product_rescaling,
    same_parameters,
    slopes,
    stored_padding,
    summation,
    without_residual,
)
from edge_sdk.quantization.fixed_point import divided, high_product, reciprocal
from edge_sdk.quantization.pooling import Windows, cells, grid, windows
from edge_sdk.quantization.resampling import Mixtures, mixtures
from edge_sdk.quantization.tables import Lookup, real_table, softmax_table, table
from edge_sdk.quantization.wide_tables import Shares, softmax_shares
from edge_sdk.spec import Array


def integer_kernel(op: type[Op], **options: Any) -> Callable[[Function], Function]:
    """Register the decorated function for stored numbers of 8 and of 16 bits."""

    def register(function: Function) -> Function:
        kernel(op, "reference", quantized=True, **options)(function)
        return kernel(op, "reference", quantized="int16", **options)(function)

    return register


@integer_kernel(Conv2D, constants=product_rescaling, when=without_residual)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling) -> None:
    n, p, q, k = out.shape
    xp = padded(op, x.astype(np.int64) - constants.input_zeros[0], w.shape[1:3])
    total = np.zeros((n, p, q, op.groups, k // op.groups), np.int64)
    wg = w.astype(np.int64).reshape(op.groups, k // op.groups, *w.shape[1:])
    for i, j, rows, columns in taps(op, w.shape[1:3], (p, q)):
        seen = xp[:, rows, columns].reshape(n, p, q, op.groups, -1)
        total += np.einsum("npqgc,gkc->npqgk", seen, wg[:, :, i, j])
    out[...] = constants.store(total.reshape(out.shape) + (0 if b is None else b))


@integer_kernel(DepthwiseConv2D, constants=product_rescaling)
def depthwise_conv2d(
    op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling
) -> None:
    p, q = out.shape[1:3]
    real = padded(op, x.astype(np.int64) - constants.input_zeros[0], w.shape[1:3])
    xp = np.repeat(real, w.shape[3] // x.shape[3], axis=3)
    total = sum(xp[:, rows, columns] * w[0, i, j] for i, j, rows, columns in taps(op, w.shape[1:3], (p, q)))
    out[...] = constants.store(total + (0 if b is None else b.astype(np.int64)))


@integer_kernel(ConvTranspose2D, constants=product_rescaling)
def conv_transpose2d(
    op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling
) -> None:
    total = np.empty(out.shape, np.int64)
    real = x.astype(np.int64) - constants.input_zeros[0]
    conv.conv_transpose2d(replace(op, activation=None), total, real, w.astype(np.int64))
    out[...] = constants.store(total + (0 if b is None else b))


@integer_kernel(Linear, constants=product_rescaling)
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling) -> None:
    total = (x.astype(np.int64) - constants.input_zeros[0]) @ w.T.astype(np.int64)
    out[...] = constants.store(total + (0 if b is None else b))


def _add(op: Add | Sub, out: Array, a: Array, b: Array, *, constants: Summation | FixedSummation) -> None:
    out[...] = constants.store(a, b)


integer_kernel(Add, constants=summation(1))(_add)
integer_kernel(Sub, constants=summation(-1))(_add)


@integer_kernel(Mul, constants=multiplication)
def mul(op: Mul, out: Array, a: Array, b: Array, *, constants: Rescaling) -> None:
    left, right = (x.astype(np.int64) - zero for x, zero in zip((a, b), constants.input_zeros, strict=True))
    out[...] = constants.store(left * right)


def _look_up(op: Op, out: Array, x: Array, *, constants: Lookup) -> None:
    out[...] = constants.store(x)


for _op in (LeakyRelu, Quantize, Relu, Relu6, Sigmoid, Tanh):
    integer_kernel(_op, constants=table)(_look_up)
kernel(HardSwish, "reference", quantized=True, constants=table)(_look_up)
integer_kernel(Dequantize, constants=real_table)(_look_up)


@kernel(PRelu, "reference", quantized=True, constants=slopes)
def prelu(op: PRelu, out: Array, x: Array, slope: Array, *, constants: Slopes) -> None:
    out[...] = constants.store(x, slope)


@kernel(Softmax, "reference", quantized=True, constants=softmax_table)
def softmax(op: Softmax, out: Array, x: Array, *, constants: Array) -> None:
    below = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    powers = constants[below]
    if powers.dtype == np.int32:
        out[...] = _fixed_shares(powers.astype(np.int64))
        return
    total = np.zeros(x.shape[:-1], np.float32)
    for index in range(x.shape[-1]):  # one after the other, as float32 sums depend on the order
        total += powers[..., index]
    factor = np.float32(1) / (total * np.float32(1 / 256))
    rounded = np.floor(powers * factor[..., np.newaxis] + np.float32(0.5))
    out[...] = np.minimum(rounded + LOWEST, 127).astype(np.int8)


def _fixed_shares(powers: Array) -> Array:
    """Stored numbers of powers with 31 binary places over their sums, which have 19 (reference/softmax.h)."""
    total = divided(powers, 12).sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1]  # leading zeros of 32 bits
    scale = reciprocal((total << headroom) - (1 << 31))
    shares = divided(high_product(scale, powers), 12 - headroom + 31 - 8)
    return np.asarray(np.clip(shares + LOWEST, LOWEST, 127), np.int8)


@kernel(Softmax, "reference", quantized="int16", constants=softmax_shares)
def wide_softmax(op: Softmax, out: Array, x: Array, *, constants: Shares) -> None:
    out[...] = constants.store(x)


@integer_kernel(MaxPool2D)
def max_pool2d(op: MaxPool2D, out: Array, x: Array) -> None:
    real = np.empty(out.shape, np.float64)
    pool.max_pool2d(op, real, x.astype(np.float64))
    out[...] = np.maximum(real, np.iinfo(out.dtype).min).astype(out.dtype)


@integer_kernel(AvgPool2D, constants=windows)
def avg_pool2d(op: AvgPool2D, out: Array, x: Array, *, constants: Windows) -> None:
    out[...] = constants.store(x)


@integer_kernel(AdaptiveAvgPool2D, constants=cells)
def adaptive_avg_pool2d(
    op: AdaptiveAvgPool2D, out: Array, x: Array, *, constants: Windows | tuple[Rescaling, ...]
) -> None:
    if isinstance(constants, Windows):
        out[...] = constants.store(x)
        return
    rows = _means_of_bands(x, 1, op.size[0], constants[0])
    out[...] = _means_of_bands(rows, 2, op.size[1], constants[1])


def _means_of_bands(x: Array, axis: int, bands: int, constants: Rescaling) -> Array:
    """The stored means of bands of an axis."""
    real = np.moveaxis(x.astype(np.int64) - constants.input_zeros[0], axis, -1)
    total = [real[..., first:last].sum(axis=-1) for first, last in grid(x.shape[axis], bands)]
    return np.moveaxis(constants.store(np.stack(total, axis=-1)), -1, axis)


@integer_kernel(GlobalAvgPool, constants=mean_of_pixels)
def global_avg_pool(op: GlobalAvgPool, out: Array, x: Array, *, constants: Rescaling) -> None:
    out[...] = constants.store((x.astype(np.int64) - constants.input_zeros[0]).sum(axis=(1, 2)))


@integer_kernel(ReduceMean, constants=mean_of_axes)
def reduce_mean(op: ReduceMean, out: Array, x: Array, *, constants: Rescaling) -> None:
    real = x.astype(np.int64) - constants.input_zeros[0]
    out[...] = constants.store(real.sum(axis=op.axes, keepdims=op.keep_dims))


@integer_kernel(Resize, constants=mixtures)
def resize(op: Resize, out: Array, x: Array, *, constants: Mixtures) -> None:
    rows, columns = constants.rows, constants.columns
    total = np.zeros(out.shape, np.int64)
    for i in range(2):
        for j in range(2):
            weights = np.outer(rows.weights[:, i], columns.weights[:, j])[:, :, np.newaxis]
            total += weights * x[:, rows.positions[:, i]][:, :, columns.positions[:, j]]
    out[...] = constants.store(total)


@integer_kernel(Pad, constants=stored_padding)
def pad(op: Pad, out: Array, x: Array, *, constants: int) -> None:
    out[...] = np.pad(x, op.paddings, constant_values=constants)


@integer_kernel(Maximum, when=same_parameters)
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> None:
    out[...] = np.maximum(a, b)


@integer_kernel(Minimum, when=same_parameters)
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> None:
    out[...] = np.minimum(a, b)


# What only moves numbers moves stored ones too.
integer_kernel(Concat, when=same_parameters)(shape.concat)
integer_kernel(ExpandDims)(shape.expand_dims)
integer_kernel(Flatten)(shape.flatten)
integer_kernel(Reshape)(shape.reshape)
integer_kernel(Slice)(shape.slice_block)
integer_kernel(Split)(shape.split)
integer_kernel(Squeeze)(shape.squeeze)
integer_kernel(Transpose)(shape.transpose)
