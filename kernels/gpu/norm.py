"""Batch normalization and local response normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.channels import THREADS, Walk, computed, merging, part_count, walk
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.launch import for_each, launch, nothing, number, sequence
from edge_sdk.kernels.gpu.moments import moments
from edge_sdk.op import Op
from edge_sdk.ops.geometry import Activation
from edge_sdk.ops.norm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormTraining,
    BatchNormTrainingAgain,
    BatchNormTrainingGrad,
    LocalResponseNorm,
    LocalResponseNormGrad,
)
from edge_sdk.ops.statistics import BatchNormTrainingGathered
from edge_sdk.spec import Array, Spec, accumulated


def _launch(kernel: str, grid: tuple[int, int, int], x: Array, *values: Any) -> Call:
    return launch("norm", kernel, grid, (THREADS, 1, 1), *values, dtype=x.dtype.name)


def _after(activation: Activation) -> np.int32:
    return np.int32(ACTIVATIONS[activation])


def _wide_channels(op: Op, x: Spec, *rest: Spec) -> bool:
    """Whether what belongs to a channel (c) is stored in the type that is computed with."""
    return all(spec.dtype == accumulated(x.dtype) for spec in rest if spec.rank == 1)


@kernel(BatchNorm, "gpu", when=_wide_channels, binds=True)
def batch_norm(op: BatchNorm, out: Array, x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> Call:
    if not x.size:
        return nothing()
    over, epsilon = walk(x, out), number(op.epsilon, x.dtype.name)
    arrays = (out, x, scale, offset, mean, variance)
    return _launch(f"batch_norm{over.suffix}", over.everywhere, x, *arrays, epsilon, _after(op.activation), *over.sizes)


def _moments(op: BatchNormTraining, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((part_count(x.shape), 3, x.shape[-1]), computed(x)),)


@kernel(BatchNormTraining, "gpu", when=_wide_channels, scratch=_moments, binds=True)
def batch_norm_training(
    op: BatchNormTraining, out: tuple[Array, ...], x: Array, scale: Array, offset: Array, mean: Array,
    variance: Array, residual: Array | None = None, *, scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    over = walk(x)
    if not over.channels:
        return nothing()
    finished = _finish(op, out, (mean, variance), scratch[0], over.parts, over)
    normalised = _normalise(op.activation, out[0], x, (scale, offset, out[3], out[4]), residual)
    return sequence((moments(scratch[0], x, over, 1, over.parts, 1), finished, normalised))


@kernel(BatchNormTrainingGathered, "gpu", when=_wide_channels, binds=True)
def batch_norm_training_gathered(
    op: BatchNormTrainingGathered, out: tuple[Array, ...], x: Array, scale: Array, offset: Array, mean: Array,
    variance: Array, statistics: Array, residual: Array | None = None,
) -> Call:  # fmt: skip
    over = walk(x)
    if not over.channels:
        return nothing()
    finished = _finish(op.norm, out, (mean, variance), statistics, statistics.shape[0], over)
    return sequence((finished, _normalise(op.activation, out[0], x, (scale, offset, out[3], out[4]), residual)))


def _finish(
    op: BatchNormTraining, out: tuple[Array, ...], running: tuple[Array, Array], statistics: Array,
    parts: int, over: Walk,
) -> Call:  # fmt: skip
    """The new running statistics, the batch's mean and its inverse deviation, from the first `parts` (part, 3, c)."""
    dtype, merged = out[0].dtype.name, merging(THREADS, over.channels)
    settings = number(op.momentum, dtype), number(op.epsilon, dtype), np.int32(parts)
    sizes = np.int64(over.rows), np.int32(over.channels), np.int32(merged.lanes)
    return _launch(
        "finish_statistics", (merged.tiles, 1, 1), out[0], *out[1:5], *running, statistics, *settings, *sizes
    )


def _normalise(
    activation: Activation, y: Array, x: Array, parameters: tuple[Array, ...], residual: Array | None
) -> Call:
    """Y from scale, offset, mean and inverse deviation, the residual and the activation."""
    if not x.size:
        return nothing()
    added = () if residual is None else (residual,)
    over, after = walk(x, y, *added), _after(activation)
    given = (*parameters, x if residual is None else residual, np.bool_(residual is not None))
    return _launch(f"normalise{over.suffix}", over.everywhere, x, y, x, *given, after, *over.sizes)


@kernel(BatchNormTrainingAgain, "gpu", when=_wide_channels, binds=True)
def batch_norm_training_again(
    op: BatchNormTrainingAgain, out: Array, x: Array, scale: Array, offset: Array, mean: Array,
    inverse_deviation: Array, residual: Array | None = None,
) -> Call:  # fmt: skip
    return _normalise(op.activation, out, x, (scale, offset, mean, inverse_deviation), residual)


def _sums(op: BatchNormTrainingGrad | BatchNormGrad, dy: Spec, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    """Sums of parts (part, 2, c) and of all rows (2, c)."""
    channels, dtype = x.shape[-1], computed(x)
    return Spec((part_count(x.shape), 2, channels), dtype), Spec((2, channels), dtype)


def _finish_gradient(
    out: tuple[Array, ...], scratch: tuple[Array, ...], deviation: Array, epsilon: float | None, over: Walk
) -> Call:
    """Dscale and doffset from the sums of parts; `deviation` is inverse where epsilon is None, else a variance."""
    merged, dtype = merging(THREADS, over.channels), out[0].dtype.name
    settings = np.bool_(epsilon is None), number(epsilon or 0, dtype), np.int32(over.parts)
    sizes = np.int32(over.channels), np.int32(merged.lanes)
    arrays = (out[1], out[2], scratch[1], scratch[0], deviation)
    return _launch("finish_gradient", (merged.tiles, 1, 1), out[0], *arrays, *settings, *sizes)


@kernel(BatchNormTrainingGrad, "gpu", when=_wide_channels, scratch=_sums, binds=True)
def batch_norm_training_grad(
    op: BatchNormTrainingGrad, out: tuple[Array, ...], dy: Array, x: Array, scale: Array, mean: Array,
    inverse_deviation: Array, offset: Array | None = None, y: Array | None = None, *, scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    over = walk(x, dy, out[0], *(() if y is None else (y,)), *out[3:])
    if not over.channels:
        return nothing()
    parameters = (scale, mean, inverse_deviation, scale if offset is None else offset)
    passed, from_y = out[3] if op.residual else out[0], (x if y is None else y, np.bool_(y is not None))
    given = (scratch[0], passed, np.bool_(op.residual), dy, x, *parameters, *from_y, _after(op.activation))
    summed = _launch(f"gradient_sums{over.suffix}", (over.tiles, over.parts, 1), x, *given, *over.sizes)
    slope, activation = (passed, None) if op.residual else (dy, op.activation)
    taken = (out[0], scratch[1], slope, x, *parameters, _after(activation), *over.sizes)
    spread = _launch(f"input_gradient{over.suffix}", over.everywhere, x, *taken)
    return sequence((summed, _finish_gradient(out, scratch, inverse_deviation, None, over), spread))


@kernel(BatchNormGrad, "gpu", when=_wide_channels, scratch=_sums, binds=True)
def batch_norm_grad(
    op: BatchNormGrad, out: tuple[Array, ...], dy: Array, x: Array, scale: Array, mean: Array, variance: Array,
    *, scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    over = walk(x, dy, out[0])
    if not over.channels:
        return nothing()
    given = (dy, x, scale, mean, variance, number(op.epsilon, x.dtype.name), *over.sizes)
    name, grid = f"batch_norm_gradient{over.suffix}", (over.tiles, over.parts, 1)
    passed = _launch(name, grid, x, out[0], scratch[0], *given)
    return sequence((passed, _finish_gradient(out, scratch, variance, op.epsilon, over)))


def _window(op: LocalResponseNorm | LocalResponseNormGrad, x: Array) -> tuple[np.generic, ...]:
    """Channels, half the window, alpha of one channel, beta, k."""
    numbers = (number(value, x.dtype.name) for value in (op.alpha / op.size, op.beta, op.k))
    return np.int32(x.shape[-1]), np.int32(op.size // 2), *numbers


@kernel(LocalResponseNorm, "gpu", binds=True)
def local_response_norm(op: LocalResponseNorm, out: Array, x: Array) -> Call:
    return for_each("norm", "local_response", x.size, out, x, *_window(op, x), dtype=x.dtype.name)


@kernel(LocalResponseNormGrad, "gpu", scratch=lambda op, dy, x: (Spec((x.elements,), computed(x)),), binds=True)
def local_response_norm_grad(
    op: LocalResponseNormGrad, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> Call:
    settings, dtype = _window(op, x), x.dtype.name
    terms = for_each("norm", "local_response_terms", x.size, scratch[0], dy, x, *settings, dtype=dtype)
    spread = for_each("norm", "local_response_gradient", x.size, out, scratch[0], dy, x, *settings, dtype=dtype)
    return sequence((terms, spread))
