"""Comparing, choosing and bits: NumPy's own loops, for every type; networks on photos hardly use them."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.logic import Bitwise, Compare, Where
from edge_sdk.spec import Array

_BITS = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
}


@kernel(Compare, "cpu")
def compare(op: Compare, out: Array, a: Array, b: Array) -> None:
    getattr(np, op.relation)(a, b, out=out)


@kernel(Bitwise, "cpu")
def bitwise(op: Bitwise, out: Array, a: Array, b: Array) -> None:
    _BITS[op.function](a, b, out=out)


@kernel(Where, "cpu")
def where(op: Where, out: Array, condition: Array, a: Array, b: Array) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=condition)
