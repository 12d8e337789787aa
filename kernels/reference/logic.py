"""Naive kernels of the logic family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.logic import Bitwise, Compare, Where
from edge_sdk.spec import Array


@kernel(Compare, "reference")
def compare(op: Compare, out: Array, a: Array, b: Array) -> None:
    out[...] = getattr(np, op.relation)(a, b)


@kernel(Bitwise, "reference")
def bitwise(op: Bitwise, out: Array, a: Array, b: Array) -> None:
    name = op.function.replace("shift_", "") + "_shift" if op.function.startswith("shift") else f"bitwise_{op.function}"
    out[...] = getattr(np, name)(a, b)


@kernel(Where, "reference")
def where(op: Where, out: Array, condition: Array, a: Array, b: Array) -> None:
    out[...] = np.where(condition, a, b)
