"""Dense layers and matrix products."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.launch import nothing, sequence
from edge_sdk.kernels.gpu.products import (
    Plan,
    arithmetic,
    countable,
    is_unrounded,
    launch_tiles,
    plan,
    structure,
    sum_parts,
)
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array, Spec

FACTORS = np.dtype(
    [
        *[(name, "i4") for name in ("rows", "columns", "terms", "batches", "part_terms", "has_bias", "activation")],
        *[(name, "i8") for name in ("left_batch", "left_row", "left_term")],
        *[(name, "i8") for name in ("right_batch", "right_column", "right_term")],
    ],
    align=True,
)
"""The struct Factors of linear.cu."""


@dataclass(frozen=True)
class _Sizes:
    rows: int
    columns: int
    terms: int
    batches: int = 1

    @property
    def plan(self) -> Plan:
        return plan(self.rows, self.columns, self.terms, self.batches)


def multiply(
    out: Array, left: Array, right: Array, sizes: _Sizes, scratch: tuple[Array, ...], *, left_along: bool = True,
    right_along: bool = True, bias: Array | None = None, activation: int = 0, precision: str = "float32",
) -> Call:  # fmt: skip
    """Return the launches of out (batch, row, column) = Σ left(row, term) · right(column, term).

    An operand lies (batch, line, term) where its terms are neighbours ("along"), and (batch, term, line) where not.
    """
    if not out.size:
        return nothing()
    rows, columns, terms, batches = astuple(sizes)
    countable("linear: terms of a sum", terms)
    planned, by = sizes.plan, arithmetic(left, precision)
    steps = [
        *((rows * terms, terms, 1) if left_along else (rows * terms, 1, rows)),
        *((columns * terms, terms, 1) if right_along else (columns * terms, 1, columns)),
    ]
    finishing = (0, 0) if scratch else (int(bias is not None), activation)
    struct = structure(FACTORS, (rows, columns, terms, batches, planned.part_terms, *finishing, *steps))
    target, in_full = (scratch[0], True) if scratch else (out, is_unrounded(out, by))
    name = f"{'rows' if left_along else 'columns'}_by_{'columns' if right_along else 'rows'}"
    name = f"{name}_parts" if in_full else name
    added = left if bias is None else bias
    first = launch_tiles("linear", name, planned, target, left, right, added, struct, by=by)
    if not scratch:
        return first
    return sequence([first, sum_parts("linear", out, scratch[0], bias, activation, columns, by)])


def _linear_sizes(op: Linear, x: Spec, w: Spec, *_: Spec) -> _Sizes:
    return _Sizes(x.shape[0], w.shape[0], x.shape[1])


def _linear_scratch(op: Linear, *inputs: Spec) -> tuple[Spec, ...]:
    return _linear_sizes(op, *inputs).plan.scratch


@kernel(Linear, "gpu", scratch=_linear_scratch, binds=True)
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> Call:
    sizes = _Sizes(x.shape[0], w.shape[0], x.shape[1])
    finish = ACTIVATIONS[op.activation]
    return multiply(out, x, w, sizes, scratch, bias=b, activation=finish, precision=op.precision)


def _matmul_sizes(op: MatMul, a: tuple[int, ...], b: tuple[int, ...]) -> _Sizes:
    rows, terms = reversed(a[-2:]) if op.transpose_a else a[-2:]
    return _Sizes(rows, b[-2] if op.transpose_b else b[-1], terms, math.prod(a[:-2]))


def _matmul_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    return _matmul_sizes(op, a.shape, b.shape).plan.scratch


@kernel(MatMul, "gpu", scratch=_matmul_scratch, binds=True)
def matmul(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> Call:
    sizes = _matmul_sizes(op, a.shape, b.shape)
    return multiply(
        out, a, b, sizes, scratch, left_along=not op.transpose_a, right_along=op.transpose_b, precision=op.precision
    )  # fmt: skip
