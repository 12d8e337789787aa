"""Constants and copies."""

from __future__ import annotations

from edge_sdk.kernel import kernel
from edge_sdk.ops.control import Full, FullLike, Identity, StopGradient
from edge_sdk.spec import Array


@kernel(StopGradient, "cpu")
def stop_gradient(op: StopGradient, out: Array, x: Array) -> None:
    out[...] = x


@kernel(Identity, "cpu")
def identity(op: Identity, out: Array, x: Array) -> None:
    out[...] = x


@kernel(Full, "cpu")
def full(op: Full, out: Array) -> None:
    out[...] = op.value


@kernel(FullLike, "cpu")
def full_like(op: FullLike, out: Array, like: Array) -> None:
    out[...] = op.value
