"""Naive kernels of the update family: the executable specification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.update import (
    AdamUpdate,
    ClipByNorm,
    GlobalNorm,
    GroupedAdamUpdate,
    GroupedRMSPropUpdate,
    GroupedSGDUpdate,
    GroupedUpdate,
    LinearAdamUpdate,
    LinearRMSPropUpdate,
    LinearSGDUpdate,
    RMSPropUpdate,
    SGDUpdate,
)
from edge_sdk.spec import Array


@kernel(SGDUpdate, "reference")
def sgd_update(
    op: SGDUpdate,
    out: tuple[Array, Array],
    weight: Array,
    gradient: Array,
    rate: Array,
    velocity: Array,
    factor: Array | None = None,
) -> None:
    if _skipped(factor, out, weight, velocity):
        return
    d = _times(gradient, factor) + op.weight_decay * weight
    v = op.momentum * velocity + d
    out[0][...] = weight - rate * (d + op.momentum * v if op.nesterov else v)
    out[1][...] = v


@kernel(AdamUpdate, "reference")
def adam_update(
    op: AdamUpdate,
    out: tuple[Array, Array, Array],
    weight: Array,
    gradient: Array,
    rate: Array,
    first: Array,
    second: Array,
    step: Array,
    factor: Array | None = None,
) -> None:
    if _skipped(factor, out, weight, first, second):
        return
    gradient = _times(gradient, factor)
    d = gradient if op.decoupled else gradient + op.weight_decay * weight
    m = op.beta1 * first + (1 - op.beta1) * d
    v = op.beta2 * second + (1 - op.beta2) * d * d
    corrected_m, corrected_v = m / (1 - op.beta1 ** int(step)), v / (1 - op.beta2 ** int(step))
    shrunk = weight * (1 - rate * op.weight_decay) if op.decoupled else weight
    out[0][...] = shrunk - rate * corrected_m / (np.sqrt(corrected_v) + op.epsilon)
    out[1][...] = m
    out[2][...] = v


@kernel(RMSPropUpdate, "reference")
def rmsprop_update(
    op: RMSPropUpdate,
    out: tuple[Array, Array, Array],
    weight: Array,
    gradient: Array,
    rate: Array,
    square: Array,
    velocity: Array,
    factor: Array | None = None,
) -> None:
    if _skipped(factor, out, weight, square, velocity):
        return
    d = _times(gradient, factor) + op.weight_decay * weight
    s = op.decay * square + (1 - op.decay) * d * d
    v = op.momentum * velocity + d / (np.sqrt(s) + op.epsilon)
    out[0][...] = weight - rate * v
    out[1][...] = s
    out[2][...] = v


def _times(gradient: Array, factor: Array | None) -> Array:
    return gradient if factor is None else gradient * factor


def _skipped(factor: Array | None, out: tuple[Array, ...], *old: Array) -> bool:
    """Keep everything as it is where the factor is 0, and tell whether it is."""
    if factor is None or factor != 0:
        return False
    for result, array in zip(out, old, strict=True):
        result[...] = array
    return True


@kernel(LinearSGDUpdate, "reference")
def linear_sgd_update(
    op: LinearSGDUpdate, out: tuple[Array, Array], weight: Array, dy: Array, x: Array, *rest: Array
) -> None:
    sgd_update(SGDUpdate(**op.attributes()), out, weight, dy.T @ x, *rest)


@kernel(LinearAdamUpdate, "reference")
def linear_adam_update(
    op: LinearAdamUpdate, out: tuple[Array, Array, Array], weight: Array, dy: Array, x: Array, *rest: Array
) -> None:
    adam_update(AdamUpdate(**op.attributes()), out, weight, dy.T @ x, *rest)


@kernel(LinearRMSPropUpdate, "reference")
def linear_rmsprop_update(
    op: LinearRMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, dy: Array, x: Array, *rest: Array
) -> None:
    rmsprop_update(RMSPropUpdate(**op.attributes()), out, weight, dy.T @ x, *rest)


@kernel(GroupedSGDUpdate, "reference")
def grouped_sgd_update(op: GroupedSGDUpdate, out: tuple[Array, ...], rate: Array, *rest: Array) -> None:
    for (weight, gradient, velocity), (new, state) in op.members.each((rate, *rest), out):
        given = (weight, gradient, rate, velocity, *_factor(op, rest))
        sgd_update(_single(SGDUpdate, op), (new, state), *given)


@kernel(GroupedAdamUpdate, "reference")
def grouped_adam_update(op: GroupedAdamUpdate, out: tuple[Array, ...], rate: Array, step: Array, *rest: Array) -> None:
    for (weight, gradient, *states), (new, first, second) in op.members.each((rate, step, *rest), out):
        given = (weight, gradient, rate, *states, step, *_factor(op, rest))
        adam_update(_single(AdamUpdate, op), (new, first, second), *given)


@kernel(GroupedRMSPropUpdate, "reference")
def grouped_rmsprop_update(op: GroupedRMSPropUpdate, out: tuple[Array, ...], rate: Array, *rest: Array) -> None:
    for (weight, gradient, *states), (new, square, velocity) in op.members.each((rate, *rest), out):
        given = (weight, gradient, rate, *states, *_factor(op, rest))
        rmsprop_update(_single(RMSPropUpdate, op), (new, square, velocity), *given)


def _single(form: Callable[..., Any], op: GroupedUpdate) -> Any:
    """The operator on one parameter."""
    return form(**{name: value for name, value in op.attributes().items() if name != "factored"})


def _factor(op: GroupedUpdate, rest: Sequence[Array]) -> Sequence[Array]:
    return rest[:1] if op.factored else ()


@kernel(GlobalNorm, "reference")
def global_norm(op: GlobalNorm, out: Array, *gradients: Array) -> None:
    out[...] = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))


@kernel(ClipByNorm, "reference")
def clip_by_norm(op: ClipByNorm, out: Array, gradient: Array, norm: Array) -> None:
    out[...] = gradient * min(1.0, op.max_norm / max(float(norm), np.finfo(gradient.dtype).tiny))
