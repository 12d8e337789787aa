"""Batch normalization and local response normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.fused_activation import ACTIVATIONS, RELU, RELU6
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.ops.norm import (
    BatchNorm,
    BatchNormGrad,
    LocalResponseNorm,
    LocalResponseNormGrad,
)
from edge_sdk.spec import Array, Spec

PARTS = 32  # of a sum over rows; fixed, so that the bytes do not depend on the number of threads


@jit
def _activated(value: Any, activation: int) -> Any:
    if activation == RELU:
        return max(value, np.float32(0))
    if activation == RELU6:
        return min(max(value, np.float32(0)), np.float32(6))
    return value


@parallel_jit
def _affine(x: Array, factor: Array, offset: Array, y: Array, activation: int) -> None:
    """Y = activation(x · factor + offset) on rows of channels."""
    for row in prange(x.shape[0]):
        for c in range(x.shape[1]):
            y[row, c] = _activated(x[row, c] * factor[c] + offset[c], activation)


@parallel_jit
def _products(dy: Array, x: Array, mean: Array, parts: Array) -> None:
    """parts[part] = (Σ dy · (x - mean), Σ dy) over the part's rows."""
    count = parts.shape[0]
    for part in prange(count):
        first, second = parts[part, 0], parts[part, 1]
        first[:] = 0.0
        second[:] = 0.0
        for row in range(len(x) * part // count, len(x) * (part + 1) // count):
            for c in range(x.shape[1]):
                first[c] += dy[row, c] * (x[row, c] - mean[c])
                second[c] += dy[row, c]


@parallel_jit
def _input_gradient(dy: Array, x: Array, a: Array, b: Array, c: Array, dx: Array) -> None:
    """Dx = a · dy + b · x + c."""
    for row in prange(x.shape[0]):
        for e in range(x.shape[1]):
            dx[row, e] = a[e] * dy[row, e] + b[e] * x[row, e] + c[e]


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _float32(*arrays: Array) -> list[Array]:
    return [array.astype(np.float32) for array in arrays]


@kernel(BatchNorm, "cpu")
def batch_norm(op: BatchNorm, out: Array, x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> None:
    factor = scale / np.sqrt(variance.astype(np.float64) + op.epsilon)
    _affine(_rows(x), *_float32(factor, offset - mean * factor), _rows(out), ACTIVATIONS[op.activation])


def _part_sums(op: BatchNormGrad, dy: Spec, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((PARTS, 2, x.shape[-1]), "float64"),)


@kernel(BatchNormGrad, "cpu", scratch=_part_sums)
def batch_norm_grad(
    op: BatchNormGrad, out: tuple[Array, Array, Array], dy: Array, x: Array, scale: Array, mean: Array, variance: Array,
    *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    inverse_deviation = 1 / np.sqrt(variance.astype(np.float64) + op.epsilon)
    _products(_rows(dy), _rows(x), mean, scratch[0])
    products, slopes = scratch[0].sum(axis=0)
    nothing = np.zeros_like(scale)
    (factor,) = _float32(scale * inverse_deviation)
    _input_gradient(_rows(dy), _rows(x), factor, nothing, nothing, _rows(out[0]))
    out[1][...] = products * inverse_deviation
    out[2][...] = slopes


@parallel_jit
def _local_response(x: Array, y: Array, half: int, alpha: float, beta: float, k: float) -> None:
    for row in prange(x.shape[0]):
        channels = x.shape[1]
        for c in range(channels):
            total = 0.0
            for e in range(max(c - half, 0), min(c + half + 1, channels)):
                total += x[row, e] * x[row, e]
            y[row, c] = x[row, c] * (k + alpha * total) ** -beta


@kernel(LocalResponseNorm, "cpu")
def local_response_norm(op: LocalResponseNorm, out: Array, x: Array) -> None:
    _local_response(_rows(x), _rows(out), op.size // 2, op.alpha / op.size, op.beta, op.k)


@parallel_jit
def _local_response_grad(
    dy: Array, x: Array, dx: Array, denominators: Array, half: int, alpha: float, beta: float, k: float
) -> None:
    for row in prange(x.shape[0]):
        channels = x.shape[1]
        for c in range(channels):
            total = 0.0
            for e in range(max(c - half, 0), min(c + half + 1, channels)):
                total += x[row, e] * x[row, e]
            denominators[row, c] = k + alpha * total
        for c in range(channels):
            shared = 0.0
            for e in range(max(c - half, 0), min(c + half + 1, channels)):
                shared += dy[row, e] * x[row, e] * denominators[row, e] ** (-beta - 1)
            dx[row, c] = dy[row, c] * denominators[row, c] ** -beta - 2 * alpha * beta * x[row, c] * shared


@kernel(LocalResponseNormGrad, "cpu", scratch=lambda op, dy, x: (Spec((x.elements // x.shape[-1], x.shape[-1])),))
def local_response_norm_grad(
    op: LocalResponseNormGrad, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> None:
    settings = (op.size // 2, op.alpha / op.size, op.beta, op.k)
    _local_response_grad(_rows(dy), _rows(x), _rows(out), scratch[0], *settings)
