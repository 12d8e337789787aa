"""Optimizer steps, in place where the plan allows. Many at once are in grouped_update.py, those of
dense layers, whose gradients are not stored, in dense_update.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, load, load_some, splat, square_root, store, store_some
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
from edge_sdk.spec import Array, Spec

SGD, ADAM, RMSPROP = range(3)
BLOCK = 4096  # weights of one task

Numbers = tuple[int, Array]
"""An optimizer, and the numbers of its formula in float32."""


@jit
def _get(x, place, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return load(x, place) if count >= LANES else load_some(x, place, count)


@jit
def _put(x, place, value, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if count >= LANES:
        store(x, place, value)
    else:
        store_some(x, place, value, count)


@jit
def _sgd(n, w, g, at, v, new_w, new_v, first, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rate, momentum, decay, nesterov, factor = n[0], n[1], n[2], n[3] > 0, n[4]
    for e in range(0, count, LANES):
        place, left = first + e, count - e
        weight = _get(w, place, left)
        d = factor * _get(g, at + e, left) + decay * weight
        u = momentum * _get(v, place, left) + d
        _put(new_v, place, u, left)
        step = d + momentum * u if nesterov else u
        _put(new_w, place, weight - rate * step, left)


@jit
def _adam(n, w, g, at, m, v, new_w, new_m, new_v, first, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    keep1, change1, keep2, change2, epsilon = splat(n[0]), splat(n[1]), splat(n[2]), splat(n[3]), splat(n[4])
    decay, shrink, rate, correction, factor = n[5], n[6], n[7], n[8], n[9]
    for e in range(0, count, LANES):
        place, left = first + e, count - e
        weight = _get(w, place, left)
        d = factor * _get(g, at + e, left) + decay * weight
        moment = keep1 * _get(m, place, left) + change1 * d
        square = keep2 * _get(v, place, left) + change2 * d * d
        _put(new_m, place, moment, left)
        _put(new_v, place, square, left)
        deviation = correction * square_root(square) + epsilon
        _put(new_w, place, shrink * weight - rate * moment / deviation, left)


@jit
def _rmsprop(n, w, g, at, s, v, new_w, new_s, new_v, first, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rate, keep, change, epsilon, momentum, decay, factor = n[0], n[1], n[2], splat(n[3]), n[4], n[5], n[6]
    for e in range(0, count, LANES):
        place, left = first + e, count - e
        weight = _get(w, place, left)
        d = factor * _get(g, at + e, left) + decay * weight
        square = keep * _get(s, place, left) + change * d * d
        u = momentum * _get(v, place, left) + d / (square_root(square) + epsilon)
        _put(new_s, place, square, left)
        _put(new_v, place, u, left)
        _put(new_w, place, weight - rate * u, left)


@jit
def update_some(
    rule: int, n: Array, w: Array, g: Array, at: int, s: Array, t: Array, new_w: Array, new_s: Array, new_t: Array,
    first: int, count: int,
) -> None:  # fmt: skip
    """Apply an optimizer to `count` weights from w[first] on, with their gradients from g[at] on.

    `s` and `t` are the state; an optimizer of one state array does not touch `t`.
    """
    if rule == SGD:
        _sgd(n, w, g, at, s, new_w, new_s, first, count)
    elif rule == ADAM:
        _adam(n, w, g, at, s, t, new_w, new_s, new_t, first, count)
    else:
        _rmsprop(n, w, g, at, s, t, new_w, new_s, new_t, first, count)


@parallel_jit
def _update(rule, n, w, g, s, t, new_w, new_s, new_t):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for block in prange((w.size + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        update_some(rule, n, w, g, first, s, t, new_w, new_s, new_t, first, min(BLOCK, w.size - first))


def sgd_numbers(op: SGDUpdate | LinearSGDUpdate | GroupedSGDUpdate, rate: Array, factor: float = 1) -> Numbers:
    """Return the numbers of w - rate · v; gradients are multiplied by the factor."""
    return SGD, np.array([float(rate), op.momentum, op.weight_decay, op.nesterov, factor], np.float32)


def adam_numbers(
    op: AdamUpdate | LinearAdamUpdate | GroupedAdamUpdate, rate: Array, step: Array, factor: float = 1
) -> Numbers:
    """Return the numbers of the bias-corrected step; (1 - β) is rounded once, not the difference of rounded numbers."""
    r, bias1, bias2 = float(rate), 1 - op.beta1 ** int(step), 1 - op.beta2 ** int(step)
    decay, shrink = (0.0, 1 - r * op.weight_decay) if op.decoupled else (op.weight_decay, 1.0)
    averages = (op.beta1, 1 - op.beta1, op.beta2, 1 - op.beta2, op.epsilon)
    return ADAM, np.array([*averages, decay, shrink, r / bias1, 1 / math.sqrt(bias2), factor], np.float32)


def rmsprop_numbers(
    op: RMSPropUpdate | LinearRMSPropUpdate | GroupedRMSPropUpdate, rate: Array, factor: float = 1
) -> Numbers:
    """Return the numbers of w - rate · v."""
    return RMSPROP, np.array(
        [float(rate), op.decay, 1 - op.decay, op.epsilon, op.momentum, op.weight_decay, factor], np.float32
    )


def is_skipped(factor: Array | None, out: Sequence[Array], old: Sequence[Array]) -> bool:
    """Keep weight and state as they are where the factor is 0, and tell whether it is."""
    if factor is None or float(factor):
        return False
    for result, array in zip(out, old, strict=True):
        np.copyto(result, array)
    return True


def _float32(op: object, weight: Spec, gradient: Spec, *rest: Spec) -> bool:
    """Gradients in 16 bits are for a GPU."""
    return weight.dtype == gradient.dtype


@kernel(SGDUpdate, "cpu", when=_float32)
def sgd_update(
    op: SGDUpdate, out: tuple[Array, Array], weight: Array, gradient: Array, rate: Array, velocity: Array,
    factor: Array | None = None,
) -> None:  # fmt: skip
    if is_skipped(factor, out, (weight, velocity)):
        return
    w, g, v, new_w, new_v = (array.reshape(-1) for array in (weight, gradient, velocity, *out))
    _update(*sgd_numbers(op, rate, 1 if factor is None else float(factor)), w, g, v, v, new_w, new_v, new_v)


@kernel(AdamUpdate, "cpu", when=_float32)
def adam_update(
    op: AdamUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, first: Array,
    second: Array, step: Array, factor: Array | None = None,
) -> None:  # fmt: skip
    if is_skipped(factor, out, (weight, first, second)):
        return
    numbers = adam_numbers(op, rate, step, 1 if factor is None else float(factor))
    _update(*numbers, *(a.reshape(-1) for a in (weight, gradient, first, second, *out)))


@kernel(RMSPropUpdate, "cpu", when=_float32)
def rmsprop_update(
    op: RMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, square: Array,
    velocity: Array, factor: Array | None = None,
) -> None:  # fmt: skip
    if is_skipped(factor, out, (weight, square, velocity)):
        return
    numbers = rmsprop_numbers(op, rate, 1 if factor is None else float(factor))
    _update(*numbers, *(a.reshape(-1) for a in (weight, gradient, square, velocity, *out)))


@kernel(GlobalNorm, "cpu")
def global_norm(op: GlobalNorm, out: Array, *gradients: Array) -> None:
    # NumPy's pairwise sum is the same for any number of threads.
    out[...] = math.sqrt(sum(float(np.sum(np.square(g), dtype=np.float64)) for g in gradients))


@kernel(ClipByNorm, "cpu")
def clip_by_norm(op: ClipByNorm, out: Array, gradient: Array, norm: Array) -> None:
    np.multiply(gradient, np.float32(min(1.0, op.max_norm / max(float(norm), 1e-38))), out=out)
