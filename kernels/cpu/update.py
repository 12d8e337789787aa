"""Optimizer steps, in place where the plan allows."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.update import AdamUpdate, ClipByNorm, GlobalNorm, RMSPropUpdate, SGDUpdate
from edge_sdk.spec import Array


@parallel_jit
def _sgd(w, g, v, new_w, new_v, rate, momentum, decay, nesterov):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in prange(w.size):
        d = g[i] + decay * w[i]
        u = momentum * v[i] + d
        new_v[i] = u
        new_w[i] = w[i] - rate * (d + momentum * u if nesterov else u)


@kernel(SGDUpdate, "cpu")
def sgd_update(
    op: SGDUpdate, out: tuple[Array, Array], weight: Array, gradient: Array, rate: Array, velocity: Array
) -> None:
    flat = [array.reshape(-1) for array in (weight, gradient, velocity, *out)]
    _sgd(*flat, np.float32(rate), np.float32(op.momentum), np.float32(op.weight_decay), op.nesterov)


@parallel_jit
def _adam(w, g, m, v, new_w, new_m, new_v, rate, beta1, beta2, epsilon, decay, shrink, bias1, bias2):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in prange(w.size):
        d = g[i] + decay * w[i]
        first = beta1 * m[i] + (1 - beta1) * d
        second = beta2 * v[i] + (1 - beta2) * d * d
        new_m[i], new_v[i] = first, second
        new_w[i] = shrink * w[i] - rate * (first / bias1) / (np.sqrt(second / bias2) + epsilon)


@kernel(AdamUpdate, "cpu")
def adam_update(
    op: AdamUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, first: Array,
    second: Array, step: Array,
) -> None:  # fmt: skip
    flat = [array.reshape(-1) for array in (weight, gradient, first, second, *out)]
    decay, shrink = (0.0, 1 - float(rate) * op.weight_decay) if op.decoupled else (op.weight_decay, 1.0)
    corrections = (1 - op.beta1 ** int(step), 1 - op.beta2 ** int(step))
    _adam(*flat, float(rate), op.beta1, op.beta2, op.epsilon, decay, shrink, *corrections)


@parallel_jit
def _rmsprop(w, g, s, v, new_w, new_s, new_v, rate, keep, epsilon, momentum, decay):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in prange(w.size):
        d = g[i] + decay * w[i]
        square = keep * s[i] + (1 - keep) * d * d
        u = momentum * v[i] + d / (np.sqrt(square) + epsilon)
        new_s[i], new_v[i] = square, u
        new_w[i] = w[i] - rate * u


@kernel(RMSPropUpdate, "cpu")
def rmsprop_update(
    op: RMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, square: Array,
    velocity: Array,
) -> None:  # fmt: skip
    flat = [array.reshape(-1) for array in (weight, gradient, square, velocity, *out)]
    _rmsprop(*flat, float(rate), op.decay, op.epsilon, op.momentum, op.weight_decay)


@kernel(GlobalNorm, "cpu")
def global_norm(op: GlobalNorm, out: Array, *gradients: Array) -> None:
    # NumPy's pairwise sum is the same for any number of threads.
    out[...] = math.sqrt(sum(float(np.sum(np.square(g), dtype=np.float64)) for g in gradients))


@kernel(ClipByNorm, "cpu")
def clip_by_norm(op: ClipByNorm, out: Array, gradient: Array, norm: Array) -> None:
    np.multiply(gradient, np.float32(min(1.0, op.max_norm / max(float(norm), 1e-38))), out=out)
