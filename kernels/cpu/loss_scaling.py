"""Dynamic loss scaling: a few numbers a step, by NumPy."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.loss_scaling import LARGEST_SCALE, LEAST_SCALE, AcceptUpdates, GradientFactor, LossScaleUpdate
from edge_sdk.spec import Array


@kernel(GradientFactor, "cpu")
def gradient_factor(op: GradientFactor, out: Array, norm: Array, scale: Array | None = None) -> None:
    divisor, taken = 1.0 if scale is None else float(scale), 1.0
    if op.max_norm is not None and math.isfinite(float(norm)):
        taken = min(1.0, op.max_norm / max(float(norm) / divisor, 1e-38))
    out[...] = taken / divisor if math.isfinite(float(norm)) else 0.0


@kernel(LossScaleUpdate, "cpu")
def loss_scale_update(
    op: LossScaleUpdate, out: tuple[Array, Array], norm: Array, scale: Array, good_steps: Array
) -> None:
    finite, good, new = math.isfinite(float(norm)), int(good_steps) + 1, float(scale)
    changes = not finite or good >= op.interval
    if changes:
        new *= op.growth if finite else op.backoff
    out[0][...] = min(max(new, LEAST_SCALE), LARGEST_SCALE)
    out[1][...] = 0 if changes else good


@kernel(AcceptUpdates, "cpu")
def accept_updates(op: AcceptUpdates, out: Array | tuple[Array, ...], factor: Array, *pairs: Array) -> None:
    taken = pairs[1::2] if float(factor) else pairs[::2]
    for result, chosen in zip(out if isinstance(out, tuple) else (out,), taken, strict=True):
        np.copyto(result, chosen)
