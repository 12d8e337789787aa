"""Dense layers and matrix products whose factors may be rounded to bfloat16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.bfloat16_few_rows import (
    multiply_by_columns,
    multiply_by_columns_scratch,
    multiply_by_rows,
    multiply_by_rows_scratch,
)
from edge_sdk.kernels.cpu.bfloat16_gemm import multiply_window, pack_columns, pack_rows, packed_size, product_scratch
from edge_sdk.kernels.cpu.bfloat16_weight_gradient import weight_gradient, weight_gradient_scratch
from edge_sdk.kernels.cpu.conv_geometry import whole_grid
from edge_sdk.kernels.cpu.few_rows import FEW
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.patches import whole_rows
from edge_sdk.kernels.cpu.simd_bfloat16 import HAS_BFLOAT16
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array, Spec


def _applies(op: Linear | MatMul, *_: Spec) -> bool:
    return HAS_BFLOAT16 and op.precision == "bfloat16"


def _is_short(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> bool:
    return _applies(op) and x.shape[0] <= FEW


def _row_sums(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    return multiply_by_rows_scratch(*x.shape)


@kernel(Linear, "cpu", algorithm="bfloat16 dot products", when=_is_short, scratch=_row_sums)
def linear_of_few(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]
) -> None:
    multiply_by_rows(x, w, out, scratch, scratch[0][:0] if b is None else b, LIMITS[op.activation])


def _linear_scratch(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    rows, (columns, depth) = x.shape[0], w.shape
    return (product_scratch(1, whole_rows(rows, depth), columns),)


def _linear_form(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    columns, depth = w.shape
    return (Spec((packed_size(depth, columns),)),)


def _pack_linear(op: Linear, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    pack_columns(w.reshape(-1), *w.shape, packed[0])


@kernel(
    Linear,
    "cpu",
    algorithm="bfloat16 packed gemm",
    when=_applies,
    scratch=_linear_scratch,
    packing=Packing(1, _linear_form, _pack_linear),
)
def linear(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    (columns, depth), rows = w.shape, len(x)
    nothing = packed[0][:0]
    multiply_window(
        x, whole_rows(rows, depth), packed[0], columns, out, whole_grid((1, 1, rows, columns), 0), scratch[0],
        nothing if b is None else b, nothing, LIMITS[op.activation],
    )  # fmt: skip


def _of_few_rows(op: MatMul, a: Spec, b: Spec) -> bool:
    return _of_rows(op, a, b) and a.shape[-2] <= FEW and not op.transpose_b


def _few_rows_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    return multiply_by_columns_scratch(*a.shape[-2:])


@kernel(MatMul, "cpu", algorithm="bfloat16 strips", when=_of_few_rows, scratch=_few_rows_scratch)
def matmul_of_few(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    for index in np.ndindex(out.shape[:-2]):
        multiply_by_columns(a[index], b[index], out[index], scratch)


def _of_columns(op: MatMul, a: Spec, b: Spec) -> bool:
    return _applies(op) and op.transpose_a and not op.transpose_b


def _columns_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    rows, outputs = a.shape[-2:]
    return weight_gradient_scratch(outputs, rows, whole_rows(rows, b.shape[-1]))


@kernel(MatMul, "cpu", algorithm="bfloat16 sum over rows", when=_of_columns, scratch=_columns_scratch)
def matmul_of_columns(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    rows, outputs = a.shape[-2:]
    for index in np.ndindex(out.shape[:-2]):
        weight_gradient(a[index], 0, outputs, b[index], whole_rows(rows, b.shape[-1]), out[index], 0, scratch)


def _of_rows(op: MatMul, a: Spec, b: Spec) -> bool:
    return _applies(op) and not op.transpose_a


def _rows_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    (rows, depth), columns = a.shape[-2:], op.infer(a, b).shape[-1]
    return product_scratch(1, whole_rows(rows, depth), columns), Spec((packed_size(depth, columns),))


@kernel(MatMul, "cpu", algorithm="bfloat16 packed gemm", when=_of_rows, scratch=_rows_scratch)
def matmul(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    own, packed = scratch
    (rows, depth), columns = a.shape[-2:], out.shape[-1]
    nothing, from_row_0 = packed[:0], np.zeros(1, np.int64)
    for index in np.ndindex(out.shape[:-2]):
        right = b[index].reshape(-1)
        if op.transpose_b:
            pack_columns(right, columns, depth, packed)
        else:
            pack_rows(right, from_row_0, depth, columns, columns, packed)
        multiply_window(
            a[index], whole_rows(rows, depth), packed, columns, out[index], whole_grid((1, 1, rows, columns), 0), own,
            nothing, nothing, LIMITS[None],
        )  # fmt: skip
