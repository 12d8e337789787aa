"""Naive kernels of the update family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.update import (
    AdamUpdate,
    ClipByNorm,
    GlobalNorm,
    GroupedAdamUpdate,
    GroupedRMSPropUpdate,
    GroupedSGDUpdate,
    LinearAdamUpdate,
    LinearRMSPropUpdate,
    LinearSGDUpdate,
    RMSPropUpdate,
    SGDUpdate,
)
from edge_sdk.spec import Array


@kernel(SGDUpdate, "reference")
def sgd_update(
    op: SGDUpdate, out: tuple[Array, Array], weight: Array, gradient: Array, rate: Array, velocity: Array
) -> None:
    d = gradient + op.weight_decay * weight
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
) -> None:
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
) -> None:
    d = gradient + op.weight_decay * weight
    s = op.decay * square + (1 - op.decay) * d * d
    v = op.momentum * velocity + d / (np.sqrt(s) + op.epsilon)
    out[0][...] = weight - rate * v
    out[1][...] = s
    out[2][...] = v


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
def grouped_sgd_update(op: GroupedSGDUpdate, out: tuple[Array, ...], rate: Array, *parameters: Array) -> None:
    for number in range(len(parameters) // 3):
        weight, gradient, velocity = parameters[3 * number : 3 * number + 3]
        results = (out[2 * number], out[2 * number + 1])
        sgd_update(SGDUpdate(**op.attributes()), results, weight, gradient, rate, velocity)


@kernel(GroupedAdamUpdate, "reference")
def grouped_adam_update(
    op: GroupedAdamUpdate, out: tuple[Array, ...], rate: Array, step: Array, *parameters: Array
) -> None:
    for number in range(len(parameters) // 4):
        weight, gradient, first, second = parameters[4 * number : 4 * number + 4]
        results = (out[3 * number], out[3 * number + 1], out[3 * number + 2])
        adam_update(AdamUpdate(**op.attributes()), results, weight, gradient, rate, first, second, step)


@kernel(GroupedRMSPropUpdate, "reference")
def grouped_rmsprop_update(op: GroupedRMSPropUpdate, out: tuple[Array, ...], rate: Array, *parameters: Array) -> None:
    for number in range(len(parameters) // 4):
        weight, gradient, square, velocity = parameters[4 * number : 4 * number + 4]
        results = (out[3 * number], out[3 * number + 1], out[3 * number + 2])
        rmsprop_update(RMSPropUpdate(**op.attributes()), results, weight, gradient, rate, square, velocity)


@kernel(GlobalNorm, "reference")
def global_norm(op: GlobalNorm, out: Array, *gradients: Array) -> None:
    out[...] = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))


@kernel(ClipByNorm, "reference")
def clip_by_norm(op: ClipByNorm, out: Array, gradient: Array, norm: Array) -> None:
    out[...] = gradient * min(1.0, op.max_norm / max(float(norm), np.finfo(gradient.dtype).tiny))
