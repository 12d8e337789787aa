"""Batch normalization in training form: statistics, then normalisation, residual and activation in one pass.

Rows are pixels. Sums over rows are cut into PARTS, whatever the number of threads, and added in order.
"""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import (
    LANES,
    at_least,
    at_most,
    fma,
    load,
    load_some,
    splat,
    store,
    store_some,
    where_greater,
    zero,
)
from edge_sdk.ops.norm import BatchNormTraining, BatchNormTrainingAgain, BatchNormTrainingGrad
from edge_sdk.spec import Array, Spec

PARTS = 32
BLOCK = 32  # rows read for one vector of channels before the next one's turn


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
def _passed(slope, y, place, count, limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The slope where 0 < y < limit, 0 elsewhere; all of it without a y."""
    if y.size == 0:
        return slope
    value = _get(y, place, count)
    return where_greater(splat(limit), value, where_greater(value, zero(), slope, zero()), zero())


@parallel_jit
def _statistics(x: Array, rows: int, channels: int, parts: Array) -> None:
    """parts[part] = the mean of the part's rows and Σ (x - mean)².

    Deviations are taken from the mean of each block of rows, read twice while it is in cache; blocks are merged as in
    Chan, Golub, LeVeque (1979), equation 2.1, where nothing cancels however far the mean is from zero.
    """
    count, size = parts.size // (2 * channels), 2 * channels
    for part in prange(count):
        first, last = rows * part // count, rows * (part + 1) // count
        for c in range(0, channels, LANES):
            _put(parts, part * size + c, zero(), channels - c)
            _put(parts, part * size + channels + c, zero(), channels - c)
        for begin in range(first, last, BLOCK):
            end = min(begin + BLOCK, last)
            share = np.float32((end - begin) / (end - first))
            between = share * np.float32(begin - first)
            inverse = np.float32(1.0) / np.float32(end - begin)
            for c in range(0, channels, LANES):
                here, at = channels - c, part * size + c
                sums, more = zero(), zero()
                for row in range(begin, end - 1, 2):
                    sums = sums + _get(x, row * channels + c, here)
                    more = more + _get(x, (row + 1) * channels + c, here)
                if (end - begin) % 2 == 1:
                    sums = sums + _get(x, (end - 1) * channels + c, here)
                center = (sums + more) * splat(inverse)
                squares, more = zero(), zero()
                for row in range(begin, end - 1, 2):
                    a = _get(x, row * channels + c, here) - center
                    b = _get(x, (row + 1) * channels + c, here) - center
                    squares, more = fma(a, a, squares), fma(b, b, more)
                if (end - begin) % 2 == 1:
                    a = _get(x, (end - 1) * channels + c, here) - center
                    squares = fma(a, a, squares)
                mean = _get(parts, at, here)
                shift = center - mean
                squares = fma(shift * shift, splat(between), squares + more)
                _put(parts, at, fma(shift, splat(share), mean), here)
                _put(parts, at + channels, _get(parts, at + channels, here) + squares, here)


@parallel_jit
def _normalise(
    x: Array, rows: int, channels: int, mean: Array, factor: Array, offset: Array, residual: Array, y: Array,
    low: float, high: float,
) -> None:  # fmt: skip
    """Y = clip((x - mean) · factor + offset + residual)."""
    for block in prange((rows + BLOCK - 1) // BLOCK):
        lowest, highest = splat(low), splat(high)
        for row in range(block * BLOCK, min(block * BLOCK + BLOCK, rows)):
            for c in range(0, channels, LANES):
                here, place = channels - c, row * channels + c
                value = fma(_get(x, place, here) - _get(mean, c, here), _get(factor, c, here), _get(offset, c, here))
                if residual.size > 0:
                    value = value + _get(residual, place, here)
                _put(y, place, at_most(highest, at_least(lowest, value)), here)


@parallel_jit
def _gradient_sums(
    dy: Array, x: Array, y: Array, rows: int, channels: int, mean: Array, limit: float, parts: Array
) -> None:
    """parts[part] = (Σ g · (x - mean), Σ g) over the part's rows, g being what of dy passes the activation."""
    count, size = parts.size // (2 * channels), 2 * channels
    for part in prange(count):
        first, last = rows * part // count, rows * (part + 1) // count
        for c in range(0, channels, LANES):
            _put(parts, part * size + c, zero(), channels - c)
            _put(parts, part * size + channels + c, zero(), channels - c)
        for begin in range(first, last, BLOCK):
            end = min(begin + BLOCK, last)
            for c in range(0, channels, LANES):
                here = channels - c
                center, products, sums = _get(mean, c, here), zero(), zero()
                more_products, more_sums = zero(), zero()
                for row in range(begin, end - 1, 2):
                    place = row * channels + c
                    g = _passed(_get(dy, place, here), y, place, here, limit)
                    products, sums = fma(g, _get(x, place, here) - center, products), sums + g
                    place += channels
                    g = _passed(_get(dy, place, here), y, place, here, limit)
                    more_products, more_sums = fma(g, _get(x, place, here) - center, more_products), more_sums + g
                if (end - begin) % 2 == 1:
                    place = (end - 1) * channels + c
                    g = _passed(_get(dy, place, here), y, place, here, limit)
                    products, sums = fma(g, _get(x, place, here) - center, products), sums + g
                at = part * size + c
                _put(parts, at, _get(parts, at, here) + (products + more_products), here)
                _put(parts, at + channels, _get(parts, at + channels, here) + (sums + more_sums), here)


@parallel_jit
def _input_gradient(
    dy: Array, x: Array, y: Array, rows: int, channels: int, coefficients: Array, limit: float, dx: Array,
    dresidual: Array,
) -> None:  # fmt: skip
    """Dx = a · g + b · x + c by channel, dresidual = g. Either may overwrite x or dy."""
    for block in prange((rows + BLOCK - 1) // BLOCK):
        for row in range(block * BLOCK, min(block * BLOCK + BLOCK, rows)):
            for c in range(0, channels, LANES):
                here, place = channels - c, row * channels + c
                g = _passed(_get(dy, place, here), y, place, here, limit)
                a, b = _get(coefficients, c, here), _get(coefficients, channels + c, here)
                constant = _get(coefficients, 2 * channels + c, here)
                value = fma(g, a, fma(_get(x, place, here), b, constant))
                if dresidual.size > 0:
                    _put(dresidual, place, g, here)
                _put(dx, place, value, here)


def _apply(
    op: BatchNormTraining | BatchNormTrainingAgain, x: Array, scale: Array, offset: Array, mean: Array,
    inverse_deviation: Array, residual: Array | None, factors: Array, y: Array,
) -> None:  # fmt: skip
    """Normalise by statistics as they are saved, in float32: whoever does it again from them gets the same bits."""
    channels = x.shape[-1]
    factors[...] = scale * inverse_deviation.astype(np.float64)
    added = factors[:0] if residual is None else residual.reshape(-1)
    _normalise(
        x.reshape(-1), x.size // channels, channels, mean, factors, offset, added, y.reshape(-1), *LIMITS[op.activation]
    )


def _parts(op: BatchNormTraining | BatchNormTrainingGrad, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return Spec((PARTS, 2, x.shape[-1])), Spec((3 * x.shape[-1],))


def _merged(parts: Array, rows: int) -> tuple[Array, Array]:
    """Mean and variance (c) of all rows from those of each part, (part, 2, c), which hold rows in equal shares."""
    bounds = rows * np.arange(PARTS + 1) // PARTS
    share = np.diff(bounds)[:, None] / rows
    means = parts[:, 0].astype(np.float64)
    mean = (share * means).sum(axis=0)
    return mean, parts[:, 1].sum(axis=0, dtype=np.float64) / rows + (share * (means - mean) ** 2).sum(axis=0)


@kernel(BatchNormTraining, "cpu", scratch=_parts)
def batch_norm_training(
    op: BatchNormTraining, out: tuple[Array, ...], x: Array, scale: Array, offset: Array, mean: Array, variance: Array,
    residual: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    y, new_mean, new_variance, batch_mean, batch_inverse_deviation = out
    parts, coefficients = scratch
    channels = x.shape[-1]
    rows = x.size // channels
    _statistics(x.reshape(-1), rows, channels, parts.reshape(-1))
    exact_mean, exact_variance = _merged(parts, rows)
    inverse_deviation = 1 / np.sqrt(exact_variance + op.epsilon)
    batch_mean[...] = exact_mean
    batch_inverse_deviation[...] = inverse_deviation
    _apply(op, x, scale, offset, batch_mean, batch_inverse_deviation, residual, coefficients[:channels], y)
    new_mean[...] = (1 - op.momentum) * mean + op.momentum * exact_mean
    new_variance[...] = (1 - op.momentum) * variance + op.momentum * exact_variance * (rows / max(rows - 1, 1))


def _factors(op: BatchNormTrainingAgain, x: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((x.shape[-1],)),)


@kernel(BatchNormTrainingAgain, "cpu", scratch=_factors)
def batch_norm_training_again(
    op: BatchNormTrainingAgain, out: Array, x: Array, scale: Array, offset: Array, mean: Array,
    inverse_deviation: Array, residual: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    _apply(op, x, scale, offset, mean, inverse_deviation, residual, scratch[0], out)


@kernel(BatchNormTrainingGrad, "cpu", scratch=_parts)
def batch_norm_training_grad(
    op: BatchNormTrainingGrad, out: tuple[Array, ...], dy: Array, x: Array, scale: Array, mean: Array,
    inverse_deviation: Array, y: Array | None = None, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    parts, coefficients = scratch
    channels, rows = x.shape[-1], x.size // x.shape[-1]
    limit = LIMITS[op.activation][1]
    slopes, seen = dy.reshape(-1), x.reshape(-1)
    result = coefficients[:0] if y is None else y.reshape(-1)
    _gradient_sums(slopes, seen, result, rows, channels, mean, limit, parts.reshape(-1))
    products, sums = parts.sum(axis=0, dtype=np.float64)
    dscale = products * inverse_deviation
    a = scale * inverse_deviation.astype(np.float64)
    b = -a * inverse_deviation * dscale / rows
    coefficients.reshape(3, channels)[...] = a, b, -a * sums / rows - b * mean
    dresidual = out[3].reshape(-1) if op.residual else coefficients[:0]
    _input_gradient(slopes, seen, result, rows, channels, coefficients, limit, out[0].reshape(-1), dresidual)
    out[1][...] = dscale
    out[2][...] = sums
