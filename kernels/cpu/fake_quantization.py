"""Rounding to the numbers that stored integers can mean, and the gradients that pass through it."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import inlined_jit, parallel_jit, prange
from edge_sdk.kernels.cpu.row_statistics import get, put
from edge_sdk.kernels.cpu.simd import LANES, at_least, at_most, fma, lane_sum, splat, where_equal, zero
from edge_sdk.ops.fake_quantization import FakeQuantize, FakeQuantizeGrad, FakeQuantizeLearnedGrad, SymmetricScale
from edge_sdk.spec import Array, Spec

BLOCK = 1 << 14  # numbers of one channel that one task goes through
ONE = np.float32(1)
ROUNDING = np.float32(1.5 * 2**23)  # beside it a float32 has no places behind the point


def _channels(x: Array, axis: int | None) -> Array:
    """View x as (rows, channels, numbers in a row)."""
    if axis is None:
        return x.reshape(1, 1, -1)
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], -1)


@parallel_jit
def _round_all(x: Array, y: Array, scale: float, low: float, high: float) -> None:
    for i in prange(x.size):
        y[i] = min(max(np.rint(x[i] / scale), low), high) * scale


@parallel_jit
def _round_channels(x: Array, y: Array, scale: Array, low: Array, high: Array) -> None:
    rows, channels, size = x.shape
    for task in prange(rows * channels):
        row, c = task // channels, task % channels
        for i in range(size):
            y[row, c, i] = min(max(np.rint(x[row, c, i] / scale[c]), low[c]), high[c]) * scale[c]


@kernel(FakeQuantize, "cpu")
def fake_quantize(op: FakeQuantize, out: Array, x: Array, scale: Array, zero_point: Array) -> None:
    low, high = (op.low - zero_point).astype(np.float32), (op.high - zero_point).astype(np.float32)
    if op.axis is None:
        _round_all(x.reshape(-1), out.reshape(-1), scale[()], low[()], high[()])
    else:
        _round_channels(_channels(x, op.axis), _channels(out, op.axis), scale, low, high)


@parallel_jit
def _pass_all(dy: Array, x: Array, dx: Array, scale: float, low: float, high: float) -> None:
    for i in prange(x.size):
        steps = np.rint(x[i] / scale)
        dx[i] = dy[i] if low <= steps and steps <= high else np.float32(0)


@parallel_jit
def _pass_channels(dy: Array, x: Array, dx: Array, scale: Array, low: Array, high: Array) -> None:
    rows, channels, size = x.shape
    for task in prange(rows * channels):
        row, c = task // channels, task % channels
        for i in range(size):
            steps = np.rint(x[row, c, i] / scale[c])
            dx[row, c, i] = dy[row, c, i] if low[c] <= steps and steps <= high[c] else np.float32(0)


@kernel(FakeQuantizeGrad, "cpu")
def fake_quantize_grad(op: FakeQuantizeGrad, out: Array, dy: Array, x: Array, scale: Array, zero_point: Array) -> None:
    low, high = (op.low - zero_point).astype(np.float32), (op.high - zero_point).astype(np.float32)
    if op.axis is None:
        _pass_all(dy.reshape(-1), x.reshape(-1), out.reshape(-1), scale[()], low[()], high[()])
    else:
        arrays = (_channels(array, op.axis) for array in (dy, x, out))
        _pass_channels(*arrays, scale, low, high)


@inlined_jit
def _rounded(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Round the lanes of a vector, none of them beyond 2²², to whole numbers, halves to even."""
    return (x + splat(ROUNDING)) - splat(ROUNDING)


@parallel_jit
def _pass_and_sum(
    dy: Array, x: Array, dx: Array, scale: Array, low: Array, high: Array, size: int, sums: Array
) -> None:
    """Write dx, and to sums (rows · blocks, channels) that of dy · slope over every block of a row (size)."""
    parts, channels = sums.shape
    blocks = (size + BLOCK - 1) // BLOCK
    for task in prange(parts * channels):
        part, c = task // channels, task % channels
        begin = (part // blocks * channels + c) * size + (part % blocks) * BLOCK
        end = begin + min(BLOCK, size - (part % blocks) * BLOCK)
        step, least, most = splat(scale[c]), splat(low[c]), splat(high[c])
        total = zero()
        for i in range(begin, end, LANES):
            count = min(LANES, end - i)
            slope, exact = get(dy, i, count), get(x, i, count) / step
            # One step beyond the limits is as good as any number.
            near = at_most(most + splat(ONE), at_least(least - splat(ONE), exact))
            steps = _rounded(near)
            stored = at_most(most, at_least(least, steps))
            put(dx, i, where_equal(steps, stored, slope, zero()), count)
            total = fma(slope, stored - where_equal(steps, stored, exact, zero()), total)
        sums[part, c] = lane_sum(total)


def _parts(op: FakeQuantizeLearnedGrad, dy: Spec, x: Spec, scale: Spec, zero_point: Spec) -> tuple[Spec, ...]:
    """Sums of the blocks, whose number depends on the shape alone."""
    axis = op.axis
    rows, channels = (1, 1) if axis is None else (math.prod(x.shape[:axis]), x.shape[axis])
    size = x.elements // max(1, rows * channels)
    return (Spec((rows * -(-size // BLOCK), channels)),)


@kernel(FakeQuantizeLearnedGrad, "cpu", scratch=_parts)
def fake_quantize_learned_grad(
    op: FakeQuantizeLearnedGrad,
    out: tuple[Array, Array],
    dy: Array,
    x: Array,
    scale: Array,
    zero_point: Array,
    scratch: tuple[Array],
) -> None:
    low, high = ((limit - zero_point).astype(np.float32).reshape(-1) for limit in (op.low, op.high))
    size = x.size // max(1, math.prod(x.shape[: op.axis + 1])) if op.axis is not None else x.size
    _pass_and_sum(dy, x, out[0], scale.reshape(-1), low, high, size, scratch[0])
    total = scratch[0].sum(axis=0, dtype=np.float64)
    out[1][...] = (op.slope * total).reshape(scale.shape)


@kernel(SymmetricScale, "cpu")
def symmetric_scale(op: SymmetricScale, out: Array, x: Array) -> None:
    others = tuple(i for i in range(x.ndim) if i != op.axis)
    largest = np.maximum(x.max(axis=others, initial=0), -x.min(axis=others, initial=0))
    out[...] = np.where(largest > 0, largest, np.float32(1)) / np.float32(op.high)
