"""Naive kernels of the control family: the executable specification."""

from __future__ import annotations

from edge_sdk.kernel import kernel
from edge_sdk.ops.control import Full, FullLike, Identity, StopGradient
from edge_sdk.spec import Array


@kernel(StopGradient, "reference")
def stop_gradient(op: StopGradient, out: Array, x: Array) -> None:
    out[...] = x


@kernel(Identity, "reference")
def identity(op: Identity, out: Array, x: Array) -> None:
    out[...] = x


@kernel(Full, "reference")
def full(op: Full, out: Array) -> None:
    out[...] = op.value


@kernel(FullLike, "reference")
def full_like(op: FullLike, out: Array, like: Array) -> None:
    out[...] = op.value
