"""Naive kernels of the norm family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.reference.elementwise import activated
from edge_sdk.ops.norm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormTraining,
    BatchNormTrainingAgain,
    BatchNormTrainingGrad,
    LocalResponseNorm,
    LocalResponseNormGrad,
)
from edge_sdk.spec import Array


@kernel(BatchNorm, "reference")
def batch_norm(op: BatchNorm, out: Array, x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> None:
    out[...] = activated(op.activation, scale * (x - mean) / np.sqrt(variance + op.epsilon) + offset)


@kernel(BatchNormGrad, "reference")
def batch_norm_grad(
    op: BatchNormGrad, out: tuple[Array, Array, Array], dy: Array, x: Array, scale: Array, mean: Array, variance: Array
) -> None:
    axes = tuple(range(x.ndim - 1))
    inverse_deviation = 1 / np.sqrt(variance + op.epsilon)
    out[1][...] = (dy * (x - mean)).sum(axis=axes) * inverse_deviation
    out[2][...] = dy.sum(axis=axes)
    out[0][...] = dy * scale * inverse_deviation


@kernel(BatchNormTraining, "reference")
def batch_norm_training(
    op: BatchNormTraining,
    out: tuple[Array, Array, Array, Array, Array],
    x: Array,
    scale: Array,
    offset: Array,
    mean: Array,
    variance: Array,
    residual: Array | None = None,
) -> None:
    axes = tuple(range(x.ndim - 1))
    normalise_by(op, out, x, scale, offset, mean, variance, x.mean(axis=axes), x.var(axis=axes), residual)


def normalise_by(
    op: BatchNormTraining,
    out: tuple[Array, Array, Array, Array, Array],
    x: Array,
    scale: Array,
    offset: Array,
    mean: Array,
    variance: Array,
    batch_mean: Array,
    batch_variance: Array,
    residual: Array | None,
) -> None:
    """Write what batch_norm_training does for a batch of this mean and variance (c)."""
    count = x.size // x.shape[-1]
    inverse_deviation = 1 / np.sqrt(batch_variance + op.epsilon)
    unbiased = batch_variance * count / max(count - 1, 1)
    out[0][...] = activated(
        op.activation, scale * (x - batch_mean) * inverse_deviation + offset + (0 if residual is None else residual)
    )
    out[1][...] = (1 - op.momentum) * mean + op.momentum * batch_mean
    out[2][...] = (1 - op.momentum) * variance + op.momentum * unbiased
    out[3][...] = batch_mean
    out[4][...] = inverse_deviation


@kernel(BatchNormTrainingAgain, "reference")
def batch_norm_training_again(
    op: BatchNormTrainingAgain,
    out: Array,
    x: Array,
    scale: Array,
    offset: Array,
    mean: Array,
    inverse_deviation: Array,
    residual: Array | None = None,
) -> None:
    out[...] = activated(
        op.activation, scale * (x - mean) * inverse_deviation + offset + (0 if residual is None else residual)
    )


@kernel(BatchNormTrainingGrad, "reference")
def batch_norm_training_grad(
    op: BatchNormTrainingGrad,
    out: tuple[Array, ...],
    dy: Array,
    x: Array,
    scale: Array,
    mean: Array,
    inverse_deviation: Array,
    offset: Array | None = None,
    y: Array | None = None,
) -> None:
    axes = tuple(range(x.ndim - 1))
    z = (x - mean) * inverse_deviation
    if offset is not None:
        y = scale * (x - mean) * inverse_deviation + offset if y is None else y
        dy = np.where((y > 0) & (y < (6 if op.activation == "relu6" else np.inf)), dy, 0)
    dscale, doffset = (dy * z).sum(axis=axes), dy.sum(axis=axes)
    count = x.size // x.shape[-1]
    out[0][...] = scale * inverse_deviation * (dy - doffset / count - z * dscale / count)
    out[1][...] = dscale
    out[2][...] = doffset
    if op.residual:
        out[3][...] = dy


def _window_sums(size: int, x: Array) -> Array:
    """Sums over `size` neighbouring channels, fewer at the borders."""
    half = size // 2
    wide = np.pad(x, ((0, 0), (0, 0), (0, 0), (half, half)))
    return np.asarray(sum(wide[..., i : i + x.shape[3]] for i in range(size)))


@kernel(LocalResponseNorm, "reference")
def local_response_norm(op: LocalResponseNorm, out: Array, x: Array) -> None:
    out[...] = x * (op.k + op.alpha / op.size * _window_sums(op.size, x * x)) ** -op.beta


@kernel(LocalResponseNormGrad, "reference")
def local_response_norm_grad(op: LocalResponseNormGrad, out: Array, dy: Array, x: Array) -> None:
    d = op.k + op.alpha / op.size * _window_sums(op.size, x * x)
    shared = _window_sums(op.size, dy * x * d ** (-op.beta - 1))
    out[...] = dy * d**-op.beta - 2 * op.alpha * op.beta / op.size * x * shared
