"""Naive kernels of the family fake_quantization: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.fake_quantization import FakeQuantize, FakeQuantizeGrad, FakeQuantizeLearnedGrad, SymmetricScale
from edge_sdk.spec import Array


def _along(numbers: Array, axis: int | None, x: Array) -> Array:
    """One number per index of `axis`, in a shape that is broadcast with x."""
    return numbers if axis is None else numbers.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _others(axis: int | None, x: Array) -> tuple[int, ...]:
    return tuple(i for i in range(x.ndim) if i != axis)


@kernel(FakeQuantize, "reference")
def fake_quantize(op: FakeQuantize, out: Array, x: Array, scale: Array, zero_point: Array) -> None:
    scale, zero_point = _along(scale, op.axis, x), _along(zero_point, op.axis, x)
    steps = np.clip(np.rint(x / scale), op.low - zero_point, op.high - zero_point)
    out[...] = steps.astype(x.dtype) * scale


@kernel(FakeQuantizeGrad, "reference")
def fake_quantize_grad(op: FakeQuantizeGrad, out: Array, dy: Array, x: Array, scale: Array, zero_point: Array) -> None:
    stored = np.rint(x / _along(scale, op.axis, x)) + _along(zero_point, op.axis, x)
    out[...] = np.where((op.low <= stored) & (stored <= op.high), dy, 0)


@kernel(FakeQuantizeLearnedGrad, "reference")
def fake_quantize_learned_grad(
    op: FakeQuantizeLearnedGrad, out: tuple[Array, Array], dy: Array, x: Array, scale: Array, zero_point: Array
) -> None:
    zero_point = _along(zero_point, op.axis, x)
    exact = x / _along(scale, op.axis, x)
    steps = np.clip(np.rint(exact), op.low - zero_point, op.high - zero_point)
    inside = steps == np.rint(exact)
    slopes = np.where(inside, steps - exact, steps)
    total = np.sum(dy * slopes, axis=_others(op.axis, x))
    out[0][...] = np.where(inside, dy, 0)
    out[1][...] = op.slope * total


@kernel(SymmetricScale, "reference")
def symmetric_scale(op: SymmetricScale, out: Array, x: Array) -> None:
    largest = np.max(np.abs(x), axis=_others(op.axis, x), initial=0)
    out[...] = np.where(largest > 0, largest, 1) / x.dtype.type(op.high)
