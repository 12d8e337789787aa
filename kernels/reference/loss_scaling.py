"""Naive kernels of the loss scaling family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.loss_scaling import LARGEST_SCALE, LEAST_SCALE, AcceptUpdates, GradientFactor, LossScaleUpdate
from edge_sdk.spec import Array


@kernel(GradientFactor, "reference")
def gradient_factor(op: GradientFactor, out: Array, norm: Array, scale: Array | None = None) -> None:
    divisor = 1.0 if scale is None else float(scale)
    if not np.isfinite(norm):
        out[...] = 0
        return
    true_norm = max(float(norm) / divisor, float(np.finfo(np.float32).tiny))
    out[...] = (1.0 if op.max_norm is None else min(1.0, op.max_norm / true_norm)) / divisor


@kernel(LossScaleUpdate, "reference")
def loss_scale_update(
    op: LossScaleUpdate, out: tuple[Array, Array], norm: Array, scale: Array, good_steps: Array
) -> None:
    new, good = float(scale), int(good_steps) + 1
    if not np.isfinite(norm):
        new, good = new * op.backoff, 0
    elif good >= op.interval:
        new, good = new * op.growth, 0
    out[0][...] = min(max(new, LEAST_SCALE), LARGEST_SCALE)
    out[1][...] = good


@kernel(AcceptUpdates, "reference")
def accept_updates(op: AcceptUpdates, out: Array | tuple[Array, ...], factor: Array, *pairs: Array) -> None:
    results = out if isinstance(out, tuple) else (out,)
    for result, old, new in zip(results, pairs[::2], pairs[1::2], strict=True):
        result[...] = old if factor == 0 else new
