"""Convolutions of stored numbers, transposed ones, and dense layers: products of matrices.

Channels of int8 in multiples of 16 go to tensor cores, where a GPU has such; all else is multiplied four channels at a
time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Call, Packing, kernel
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.geometry import GEOMETRY, geometry
from edge_sdk.kernels.gpu.integer_rescaling import factors_on_device, integer_kernel, on_device, storing
from edge_sdk.kernels.gpu.launch import launch, nothing
from edge_sdk.kernels.gpu.moves import are_aligned
from edge_sdk.kernels.gpu.products import (
    THREADS,
    Arithmetic,
    countable,
    has_tensor_cores,
    launch_tiles,
    structure,
    tiles,
    whole_sums,
)
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.ops.linear import Linear
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling, without_residual
from edge_sdk.spec import Array, Spec

POINT = (1, 1, 1, 1, 1, 0)
"""The struct Extent of an axis with one pixel."""
CHUNK, WARP = 16, 32
BY_TENSOR_CORES = Arithmetic("int8", tensor_cores=True)


def _is_in_chunks(op: Conv2D | Linear, x: Spec, w: Spec, *more: Spec) -> bool:
    """Tell whether tensor cores can take an operator: its channels are whole chunks of int8."""
    return x.dtype == "int8" and w.shape[-1] % CHUNK == 0 and w.elements > 0 and without_residual(op, x, w, *more)


def _sums(op: Conv2D | Linear, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((w.shape[0],), "int32"),)


def _sum_weights(op: Conv2D | Linear, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    """Fill in the sum of each output's weights."""
    outputs = w.shape[0]
    grid = (countable(f"{op.name}: outputs", -(-outputs // (THREADS // WARP))), 1, 1)
    values = (packed[0], w, np.int64(w.size // outputs), np.int64(outputs))
    launch("integer_weights", "weight_sums", grid, (THREADS, 1, 1), *values, dtype="int8")()


SUMS = Packing(1, _sums, _sum_weights)


@kernel(
    Conv2D, "gpu", algorithm="tensor cores", quantized=True, constants=product_rescaling, when=_is_in_chunks,
    packing=SUMS, binds=True,
)  # fmt: skip
def conv2d_in_chunks(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    packed: tuple[Array, ...], constants: Rescaling,
) -> Call:  # fmt: skip
    if not (has_tensor_cores(current_driver().architecture, "int8") and are_aligned(x, w)):
        return conv2d(op, out, x, w, b, constants=constants)
    if not out.size:
        return nothing()
    described = geometry(op, x.shape, out.shape, w.shape[1:3])
    return _in_chunks(op.groups, out, x, w, b, packed[0], constants, described)


@kernel(
    Linear, "gpu", algorithm="tensor cores", quantized=True, constants=product_rescaling, when=_is_in_chunks,
    packing=SUMS, binds=True,
)  # fmt: skip
def linear_in_chunks(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *,
    packed: tuple[Array, ...], constants: Rescaling,
) -> Call:  # fmt: skip
    if not (has_tensor_cores(current_driver().architecture, "int8") and are_aligned(x, w)):
        return linear(op, out, x, w, b, constants=constants)
    if not out.size:
        return nothing()
    return _in_chunks(1, out, x, w, b, packed[0], constants, _of_rows(out, x))


@integer_kernel(Conv2D, constants=product_rescaling, when=without_residual)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling) -> Call:
    if not out.size:
        return nothing()
    n, p, q, k = out.shape
    described = geometry(op, x.shape, out.shape, w.shape[1:3])
    blocks = tiles(n * p * q, k // op.groups) * op.groups
    return _in_fours("conv2d", blocks, out, x, w, b, constants, described)


@integer_kernel(Linear, constants=product_rescaling)
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling) -> Call:
    if not out.size:
        return nothing()
    return _in_fours("conv2d", tiles(*out.shape), out, x, w, b, constants, _of_rows(out, x))


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
    return _in_fours("conv_transpose2d", blocks, out, x, w, b, constants, described)


def _of_rows(out: Array, x: Array) -> np.void:
    """The geometry of a dense layer: each row is an image of one pixel."""
    rows, depth = countable("linear: rows", out.shape[0]), countable("linear: terms of a sum", x.shape[1])
    return structure(GEOMETRY, (rows, depth, out.shape[1], 1, POINT, POINT))


def _in_fours(
    name: str, blocks: int, out: Array, x: Array, w: Array, b: Array | None, scaling: Rescaling, described: np.void
) -> Call:
    """The launch of a kernel of integer_conv.cu, a block for each tile."""
    factors = factors_on_device(scaling)
    bias, words = _bias(b, factors)
    grid = (countable(f"{name}: blocks", blocks), 1, 1)
    values = (out, x, w, bias, factors, words, np.int32(scaling.input_zeros[0]), storing(scaling), described)
    return launch("integer_conv", name, grid, (THREADS, 1, 1), *values, dtype=x.dtype.name)


def _in_chunks(
    groups: int, out: Array, x: Array, w: Array, b: Array | None, sums: Array, scaling: Rescaling, described: np.void
) -> Call:
    """The launch of a kernel of integer_tensor_conv.cu."""
    factors, zero = factors_on_device(scaling), scaling.input_zeros[0]
    bias, words = _bias(b, factors)
    outside = on_device(np.full(CHUNK, zero, np.int8))
    outputs = out.shape[-1] // groups
    planned = whole_sums(out.size // out.shape[-1], outputs, w.size // w.shape[0], groups)
    values = (out, x, w, bias, factors, sums, outside, words, np.int32(zero), storing(scaling), described)
    return launch_tiles("integer_tensor_conv", "conv2d", planned, *values, by=BY_TENSOR_CORES)


def _bias(b: Array | None, other: Array) -> tuple[Array, np.int32]:
    """A bias as words of 32 bits, and how many an output has; any other array, and none, where there is no bias."""
    return (other, np.int32(0)) if b is None else (b.view(np.int32), np.int32(b.dtype.itemsize // 4))
