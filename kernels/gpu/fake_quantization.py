"""Rounding to the numbers that stored integers can mean, and the gradients that pass through it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each, number
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.kernels.gpu.sums import parts, reduction
from edge_sdk.ops.fake_quantization import FakeQuantize, FakeQuantizeGrad, FakeQuantizeLearnedGrad, SymmetricScale
from edge_sdk.spec import Array, Spec

CHANNELS = np.dtype([("inner", "i8"), ("channels", "i8")], align=True)
"""The struct Channels of fake_quantization.cu."""


def _channels(shape: Sequence[int], axis: int | None) -> np.void:
    """How elements map to channels."""
    inner, channels = (1, 1) if axis is None else (math.prod(shape[axis + 1 :]), shape[axis])
    return structure(CHANNELS, inner, channels)


def _others(rank: int, axis: int | None) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i != axis)


@kernel(FakeQuantize, "gpu", binds=True)
def fake_quantize(op: FakeQuantize, out: Array, x: Array, scale: Array, zero_point: Array) -> Call:
    numbers = (np.int32(op.low), np.int32(op.high), _channels(x.shape, op.axis))
    arrays = (out, x, scale, zero_point)
    return for_each("fake_quantization", "fake_quantize", x.size, *arrays, *numbers, dtype=x.dtype.name)


@kernel(FakeQuantizeGrad, "gpu", binds=True)
def fake_quantize_grad(op: FakeQuantizeGrad, out: Array, dy: Array, x: Array, scale: Array, zero_point: Array) -> Call:
    numbers = (np.int32(op.low), np.int32(op.high), _channels(x.shape, op.axis))
    arrays = (out, dy, x, scale, zero_point)
    return for_each("fake_quantization", "fake_quantize_grad", x.size, *arrays, *numbers, dtype=x.dtype.name)


def _learned_parts(op: FakeQuantizeLearnedGrad, dy: Spec, x: Spec, scale: Spec, zero_point: Spec) -> tuple[Spec, ...]:
    return (parts(x.shape, _others(x.rank, op.axis), x.dtype),)


@kernel(FakeQuantizeLearnedGrad, "gpu", scratch=_learned_parts, binds=True)
def fake_quantize_learned_grad(
    op: FakeQuantizeLearnedGrad, out: tuple[Array, Array], dy: Array, x: Array, scale: Array, zero_point: Array,
    scratch: tuple[Array],
) -> Call:  # fmt: skip
    dtype = x.dtype.name
    planned = reduction(x.shape, _others(x.ndim, op.axis))
    given = (out[0], dy, x, scale, zero_point, np.int32(op.low), np.int32(op.high))
    last = ("learned_parts", out[1], number(op.slope, dtype))
    return planned.launches("fake_quantization", "learned", scratch[0], given, *last, dtype=dtype)


def _largest_parts(op: SymmetricScale, x: Spec) -> tuple[Spec, ...]:
    return (parts(x.shape, _others(x.rank, op.axis), x.dtype),)


@kernel(SymmetricScale, "gpu", scratch=_largest_parts, binds=True)
def symmetric_scale(op: SymmetricScale, out: Array, x: Array, scratch: tuple[Array]) -> Call:
    dtype = x.dtype.name
    planned = reduction(x.shape, _others(x.ndim, op.axis))
    last = ("largest_parts", out, number(op.high, dtype))
    return planned.launches("fake_quantization", "largest", scratch[0], (x,), *last, dtype=dtype)
