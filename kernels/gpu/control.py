"""Constants and copies."""

from __future__ import annotations

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each, number
from edge_sdk.kernels.gpu.loops import map_elements
from edge_sdk.ops.control import Full, FullLike, Identity, StopGradient
from edge_sdk.spec import Array


@kernel(StopGradient, "gpu", binds=True)
def stop_gradient(op: StopGradient, out: Array, x: Array) -> Call:
    return map_elements("control", "copy", out, x)


@kernel(Identity, "gpu", binds=True)
def identity(op: Identity, out: Array, x: Array) -> Call:
    return map_elements("control", "copy", out, x)


@kernel(Full, "gpu", binds=True)
def full(op: Full, out: Array) -> Call:
    return _fill(out, op.value)


@kernel(FullLike, "gpu", binds=True)
def full_like(op: FullLike, out: Array, like: Array) -> Call:
    return _fill(out, op.value)


def _fill(out: Array, value: float) -> Call:
    dtype = out.dtype.name
    return for_each("control", "fill", out.size, out, number(value, dtype), dtype=dtype)
