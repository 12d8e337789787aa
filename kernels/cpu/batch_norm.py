"""Batch normalization in training form: statistics, then normalisation, residual and activation in one pass.

Rows are pixels. Sums over rows are cut into PARTS, whatever the number of threads, and added in order. Where a
convolution has gathered the statistics there is nothing to do but normalise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.jit import inlined_jit, parallel_jit, prange
from edge_sdk.kernels.cpu.row_statistics import even_bounds, gather, get, merged, put
from edge_sdk.kernels.cpu.simd import LANES, at_least, at_most, fma, splat, stream, where_greater, zero
from edge_sdk.kernels.cpu.streaming import is_streamed
from edge_sdk.ops.norm import BatchNormTraining, BatchNormTrainingAgain, BatchNormTrainingGrad
from edge_sdk.ops.statistics import PARTS, BatchNormTrainingGathered
from edge_sdk.spec import Array, Spec

ROWS = 4  # rows whose products are summed before the sums are stored
BLOCK = 32  # rows of one task


@parallel_jit
def _normalise(
    x: Array, rows: int, channels: int, mean: Array, factor: Array, offset: Array, residual: Array, y: Array,
    low: float, high: float, streamed: bool,
) -> None:  # fmt: skip
    """Y = clip((x - mean) · factor + offset + residual)."""
    for block in prange((rows + BLOCK - 1) // BLOCK):
        lowest, highest = splat(low), splat(high)
        for row in range(block * BLOCK, min(block * BLOCK + BLOCK, rows)):
            for c in range(0, channels, LANES):
                here, place = channels - c, row * channels + c
                value = fma(get(x, place, here) - get(mean, c, here), get(factor, c, here), get(offset, c, here))
                if residual.size > 0:
                    value = value + get(residual, place, here)
                value = at_most(highest, at_least(lowest, value))
                if streamed:
                    stream(y, place, value)
                else:
                    put(y, place, value, here)


def _make_passed(reads_result: bool) -> Callable[..., Any]:
    @inlined_jit
    def passed(slope, deviation, factor, offset, y, place, count, limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """The slope where 0 < y < limit, 0 elsewhere.

        Y is read, or else computed again from x - mean: the very sum that `_normalise` formed.
        """
        value = get(y, place, count) if reads_result else fma(deviation, factor, offset)
        return where_greater(splat(limit), value, where_greater(value, zero(), slope, zero()), zero())

    return passed


def _make_gradient_sums(passed: Callable[..., Any]) -> Callable[..., None]:
    @inlined_jit
    def add_rows(
        dy: Array, x: Array, line: Array, y: Array, place: int, rows: int, c: int, channels: int, count: int,
        mean: Array, limit: float, parts: Array, at: int,
    ) -> None:  # fmt: skip
        """Add a few rows of one vector of channels; `count` lanes of it exist."""
        products, sums = get(parts, at, count), get(parts, at + channels, count)
        factor, offset, center = get(line, c, count), get(line, channels + c, count), get(mean, c, count)
        for _ in range(rows):
            deviation = get(x, place, count) - center
            g = passed(get(dy, place, count), deviation, factor, offset, y, place, count, limit)
            products, sums = fma(g, deviation, products), sums + g
            place += channels
        put(parts, at, products, count)
        put(parts, at + channels, sums, count)

    @inlined_jit
    def add_channels(
        dy: Array, x: Array, line: Array, y: Array, row: int, rows: int, channels: int, mean: Array, limit: float,
        parts: Array, at: int,
    ) -> None:  # fmt: skip
        whole = channels // LANES * LANES
        for c in range(0, whole, LANES):
            add_rows(dy, x, line, y, row * channels + c, rows, c, channels, LANES, mean, limit, parts, at + c)
        if whole < channels:
            add_rows(
                dy, x, line, y, row * channels + whole, rows, whole, channels, channels - whole, mean, limit, parts,
                at + whole,
            )  # fmt: skip

    @parallel_jit
    def gradient_sums(
        dy: Array, x: Array, line: Array, y: Array, rows: int, channels: int, mean: Array, limit: float, parts: Array
    ) -> None:
        """parts[part] = (Σ g · (x - mean), Σ g) over the part's rows, g being what of dy passes the activation."""
        count, size = parts.size // (2 * channels), 2 * channels
        for part in prange(count):
            first, last = rows * part // count, rows * (part + 1) // count
            for e in range(part * size, part * size + size):
                parts[e] = 0
            row = first
            while row + ROWS <= last:
                add_channels(dy, x, line, y, row, ROWS, channels, mean, limit, parts, part * size)
                row += ROWS
            while row < last:
                add_channels(dy, x, line, y, row, 1, channels, mean, limit, parts, part * size)
                row += 1

    return gradient_sums


def _make_input_gradient(passed: Callable[..., Any]) -> Callable[..., None]:
    @inlined_jit
    def put_vector(
        dy: Array, x: Array, line: Array, y: Array, place: int, c: int, channels: int, count: int, mean: Array,
        coefficients: Array, limit: float, dx: Array, dresidual: Array,
    ) -> None:  # fmt: skip
        deviation = get(x, place, count) - get(mean, c, count)
        factor, offset = get(line, c, count), get(line, channels + c, count)
        g = passed(get(dy, place, count), deviation, factor, offset, y, place, count, limit)
        a, b = get(coefficients, c, count), get(coefficients, channels + c, count)
        if dresidual.size > 0:
            put(dresidual, place, g, count)
        put(dx, place, fma(g, a, fma(deviation, b, get(coefficients, 2 * channels + c, count))), count)

    @parallel_jit
    def input_gradient(
        dy: Array, x: Array, line: Array, y: Array, rows: int, channels: int, mean: Array, coefficients: Array,
        limit: float, dx: Array, dresidual: Array,
    ) -> None:  # fmt: skip
        """Dx = a · g + b · (x - mean) + c by channel, dresidual = g. Either may overwrite x or dy."""
        whole = channels // LANES * LANES
        for block in prange((rows + BLOCK - 1) // BLOCK):
            for row in range(block * BLOCK, min(block * BLOCK + BLOCK, rows)):
                start = row * channels
                for c in range(0, whole, LANES):
                    put_vector(dy, x, line, y, start + c, c, channels, LANES, mean, coefficients, limit, dx, dresidual)
                if whole < channels:
                    put_vector(
                        dy, x, line, y, start + whole, whole, channels, channels - whole, mean, coefficients, limit, dx,
                        dresidual,
                    )  # fmt: skip

    return input_gradient


_FROM_LINE, _FROM_RESULT = _make_passed(False), _make_passed(True)  # noqa: FBT003
_GRADIENT_SUMS = {False: _make_gradient_sums(_FROM_LINE), True: _make_gradient_sums(_FROM_RESULT)}
_INPUT_GRADIENT = {False: _make_input_gradient(_FROM_LINE), True: _make_input_gradient(_FROM_RESULT)}


def _factor(scale: Array, inverse_deviation: Array) -> Array:
    """What the normalisation multiplies by (c): the same numbers forward and backward."""
    return scale * inverse_deviation.astype(np.float64)


def _apply(
    op: BatchNormTraining | BatchNormTrainingAgain, x: Array, scale: Array, offset: Array, mean: Array,
    inverse_deviation: Array, residual: Array | None, factors: Array, y: Array,
) -> None:  # fmt: skip
    """Normalise by statistics as they are saved, in float32: whoever does it again from them gets the same bits."""
    channels = x.shape[-1]
    factors[...] = _factor(scale, inverse_deviation)
    added = factors[:0] if residual is None else residual.reshape(-1)
    _normalise(
        x.reshape(-1), x.size // channels, channels, mean, factors, offset, added, y.reshape(-1),
        *LIMITS[op.activation], is_streamed(y),
    )  # fmt: skip


def _normalise_batch(
    op: BatchNormTraining, out: tuple[Array, ...], x: Array, scale: Array, offset: Array, mean: Array, variance: Array,
    residual: Array | None, statistics: Array, factors: Array,
) -> None:  # fmt: skip
    y, new_mean, new_variance, batch_mean, batch_inverse_deviation = out
    rows = x.size // x.shape[-1]
    exact_mean, exact_variance = merged(statistics)
    batch_mean[...] = exact_mean
    batch_inverse_deviation[...] = 1 / np.sqrt(exact_variance + op.epsilon)
    _apply(op, x, scale, offset, batch_mean, batch_inverse_deviation, residual, factors, y)
    new_mean[...] = (1 - op.momentum) * mean + op.momentum * exact_mean
    new_variance[...] = (1 - op.momentum) * variance + op.momentum * exact_variance * (rows / max(rows - 1, 1))


def _factors(op: BatchNormTrainingAgain | BatchNormTrainingGathered, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((x.shape[-1],)),)


def _statistics_and_factors(op: BatchNormTraining, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return Spec((PARTS, 3, x.shape[-1])), Spec((x.shape[-1],))


@kernel(BatchNormTraining, "cpu", scratch=_statistics_and_factors)
def batch_norm_training(
    op: BatchNormTraining, out: tuple[Array, ...], x: Array, scale: Array, offset: Array, mean: Array, variance: Array,
    residual: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    statistics, factors = scratch
    gather(x, even_bounds(x.size // x.shape[-1]), statistics)
    _normalise_batch(op, out, x, scale, offset, mean, variance, residual, statistics, factors)


@kernel(BatchNormTrainingGathered, "cpu", scratch=_factors)
def batch_norm_training_gathered(
    op: BatchNormTrainingGathered, out: tuple[Array, ...], x: Array, scale: Array, offset: Array, mean: Array,
    variance: Array, statistics: Array, residual: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    _normalise_batch(op.norm, out, x, scale, offset, mean, variance, residual, statistics, scratch[0])


@kernel(BatchNormTrainingAgain, "cpu", scratch=_factors)
def batch_norm_training_again(
    op: BatchNormTrainingAgain, out: Array, x: Array, scale: Array, offset: Array, mean: Array,
    inverse_deviation: Array, residual: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    _apply(op, x, scale, offset, mean, inverse_deviation, residual, scratch[0], out)


def _parts(op: BatchNormTrainingGrad, dy: Spec, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return Spec((PARTS, 2, x.shape[-1])), Spec((5 * x.shape[-1],))


@kernel(BatchNormTrainingGrad, "cpu", scratch=_parts)
def batch_norm_training_grad(
    op: BatchNormTrainingGrad, out: tuple[Array, ...], dy: Array, x: Array, scale: Array, mean: Array,
    inverse_deviation: Array, offset: Array | None = None, y: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    channels, rows = x.shape[-1], x.size // x.shape[-1]
    parts, coefficients, line = scratch[0], scratch[1][: 3 * channels], scratch[1][3 * channels :]
    limit = LIMITS[op.activation][1]
    slopes, seen = dy.reshape(-1), x.reshape(-1)
    if offset is None:
        line[:channels], line[channels:] = 0, 1  # inside the limits whatever x is
    else:
        line[:channels], line[channels:] = _factor(scale, inverse_deviation), offset
    reads_result = y is not None
    result = coefficients[:0] if y is None else y.reshape(-1)
    _GRADIENT_SUMS[reads_result](slopes, seen, line, result, rows, channels, mean, limit, parts.reshape(-1))
    products, sums = parts.sum(axis=0, dtype=np.float64)
    dscale = products * inverse_deviation
    a = scale * inverse_deviation.astype(np.float64)
    b = -a * inverse_deviation * dscale / rows
    coefficients.reshape(3, channels)[...] = a, b, -a * sums / rows
    dresidual = out[3].reshape(-1) if op.residual else coefficients[:0]
    _INPUT_GRADIENT[reads_result](
        slopes, seen, line, result, rows, channels, mean, coefficients, limit, out[0].reshape(-1), dresidual
    )
    out[1][...] = dscale
    out[2][...] = sums
