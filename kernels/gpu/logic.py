"""Comparing, choosing, and arithmetic on truth values and bits."""

from __future__ import annotations

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each
from edge_sdk.kernels.gpu.loops import map_broadcast
from edge_sdk.kernels.gpu.strides import broadcast_strides, strides
from edge_sdk.ops.logic import Bitwise, Compare, Where
from edge_sdk.spec import Array


@kernel(Compare, "gpu", binds=True)
def compare(op: Compare, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("logic", op.relation, out, a, b)


@kernel(Bitwise, "gpu", binds=True)
def bitwise(op: Bitwise, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("logic", f"bits_{op.function}", out, a, b)


@kernel(Where, "gpu", binds=True)
def where(op: Where, out: Array, condition: Array, a: Array, b: Array) -> Call:
    walked = strides(out.shape, *(broadcast_strides(x.shape, out.shape) for x in (a, b, condition)))
    return for_each("logic", "where", out.size, out, condition, a, b, walked, dtype=a.dtype.name)
