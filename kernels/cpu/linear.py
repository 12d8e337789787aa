"""Dense layers and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.few_rows import (
    FEW,
    multiply_by_columns,
    multiply_by_columns_scratch,
    multiply_by_rows,
    multiply_by_rows_cost,
    multiply_by_rows_scratch,
)
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import Grid, multiply_window, packed_size, product_cost, product_scratch
from edge_sdk.kernels.cpu.packing import pack_columns, pack_rows
from edge_sdk.kernels.cpu.patches import whole_rows
from edge_sdk.kernels.cpu.weight_gradient import weight_gradient, weight_gradient_scratch
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array, Spec


@lru_cache(1024)
def _plane(rows: int, columns: int) -> Grid:
    """A matrix of results as an image of one row."""
    return Grid(1, rows, columns, 0, 0, 0, 1, 1)


def _is_short(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> bool:
    return x.shape[0] <= FEW


def _row_sums(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    return (multiply_by_rows_scratch(x.shape[0]),)


def _row_cost(op: Linear, once: bool, x: Spec, w: Spec, b: Spec | None = None) -> float:
    columns, depth = w.shape
    return multiply_by_rows_cost(x.shape[0], depth, columns)


@kernel(Linear, "cpu", algorithm="dot products", when=_is_short, scratch=_row_sums, cost=_row_cost)
def linear_of_few(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]
) -> None:
    multiply_by_rows(x, w, out, scratch[0], scratch[0][0, :0] if b is None else b, LIMITS[op.activation])


def _linear_scratch(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    rows, (columns, depth) = x.shape[0], w.shape
    return (product_scratch(1, whole_rows(rows, depth), columns),)


def _linear_form(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    columns, depth = w.shape
    return (Spec((packed_size(depth, columns),)),)


def _pack_linear(op: Linear, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    columns, depth = w.shape
    pack_columns(w.reshape(-1), 0, columns, depth, depth, packed[0])


def _linear_cost(op: Linear, once: bool, x: Spec, w: Spec, b: Spec | None = None) -> float:
    columns, depth = w.shape
    return product_cost(x.shape[0], depth, columns, once)


@kernel(
    Linear,
    "cpu",
    algorithm="packed gemm",
    scratch=_linear_scratch,
    packing=Packing(1, _linear_form, _pack_linear),
    cost=_linear_cost,
)
def linear(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    (columns, depth), rows = w.shape, len(x)
    nothing = packed[0][:0]
    multiply_window(
        x, whole_rows(rows, depth), packed[0], columns, out, _plane(rows, columns), scratch[0],
        nothing if b is None else b, nothing, LIMITS[op.activation],
    )  # fmt: skip


def _of_few_rows(op: MatMul, a: Spec, b: Spec) -> bool:
    return not op.transpose_a and a.shape[-2] <= FEW and not op.transpose_b


def _few_rows_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    return multiply_by_columns_scratch(*a.shape[-2:])


@kernel(MatMul, "cpu", algorithm="strips", when=_of_few_rows, scratch=_few_rows_scratch)
def matmul_of_few(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    for index in np.ndindex(out.shape[:-2]):
        multiply_by_columns(a[index], b[index], out[index], scratch)


def _of_columns(op: MatMul, a: Spec, b: Spec) -> bool:
    return op.transpose_a and not op.transpose_b


def _columns_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    rows, outputs = a.shape[-2:]
    return weight_gradient_scratch(outputs, rows, whole_rows(rows, b.shape[-1]))


@kernel(MatMul, "cpu", algorithm="sum over rows", when=_of_columns, scratch=_columns_scratch)
def matmul_of_columns(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    rows, outputs = a.shape[-2:]
    for index in np.ndindex(out.shape[:-2]):
        weight_gradient(a[index], 0, outputs, b[index], whole_rows(rows, b.shape[-1]), out[index], 0, scratch)


def _matmul_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    rows, columns = op.infer_outputs((a, b))[0].shape[-2:]
    depth = a.shape[-2 if op.transpose_a else -1]
    product = product_scratch(1, whole_rows(rows, depth), columns)
    return product, Spec((packed_size(depth, columns),)), Spec((rows * depth if op.transpose_a else 0,))


@kernel(MatMul, "cpu", algorithm="packed gemm", scratch=_matmul_scratch)
def matmul(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    own, packed, turned = scratch
    rows, columns = out.shape[-2:]
    depth = a.shape[-2 if op.transpose_a else -1]
    nothing, from_row_0 = packed[:0], np.zeros(1, np.int64)
    for index in np.ndindex(out.shape[:-2]):
        left, right = a[index], b[index].reshape(-1)
        if op.transpose_a:
            left, source = turned.reshape(rows, depth), left
            np.copyto(left, source.T)
        if op.transpose_b:
            pack_columns(right, 0, columns, depth, depth, packed)
        else:
            pack_rows(right, from_row_0, depth, columns, columns, packed)
        multiply_window(
            left, whole_rows(rows, depth), packed, columns, out[index], _plane(rows, columns), own, nothing, nothing,
            LIMITS[None],
        )  # fmt: skip
