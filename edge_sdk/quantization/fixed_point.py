"""Multiplication of whole numbers by real factors without floating point, as the mobile runtime's own kernels do it.

A factor is m / 2^31 · 2^shift with m in [2^30, 2^31). Products are rounded twice: after the multiplication, halves
upwards, and after a shift to the right, halves away from zero; vector instructions round them upwards there, too.
(tensorflow/lite/kernels/internal/common.h, quantization_util.cc; google/gemmlowp fixedpoint/fixedpoint.h.)
"""

from __future__ import annotations

import numpy as np

from edge_sdk.spec import Array

ONE = 2**31 - 1  # the largest number of 31 binary places, which stands for 1
SMALLEST_SHIFT = -31


def half_away(x: Array) -> Array:
    """Round to whole numbers, halves away from zero."""
    whole = np.trunc(x)
    return np.asarray(whole + np.copysign(np.abs(x - whole) >= 0.5, x))


def fixed_factors(real: Array) -> tuple[Array, Array]:
    """Return multipliers and shifts (int64) of positive real factors: m · 2^(shift - 31)."""
    fraction, shift = np.frexp(np.asarray(real, np.float64))
    multiplier = half_away(np.ldexp(fraction, 31)).astype(np.int64)
    overflown = multiplier == 2**31
    multiplier, shift = np.where(overflown, multiplier // 2, multiplier), shift + overflown
    tiny = shift < SMALLEST_SHIFT
    return np.where(tiny, 0, multiplier), np.where(tiny, 0, shift).astype(np.int64)


def high_product(a: Array, b: Array | int) -> Array:
    """Return a · b / 2^31 rounded, halves upwards (gemmlowp's saturating rounding doubling high product)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.asarray(np.minimum((product + (1 << 30)) >> 31, ONE))  # -1 · -1


def divided(x: Array, exponent: Array | int, away: Array | int = 1) -> Array:
    """Return x / 2^exponent rounded, halves away from zero, or upwards where `away` is 0."""
    x = np.asarray(x, np.int64)
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    return np.asarray((x >> exponent) + ((x & mask) > (mask >> 1) + ((x < 0) & (np.asarray(away) != 0))))


def product(x: Array, multiplier: Array, left: Array, right: Array, away: Array) -> Array:
    """Return x · m / 2^31 · 2^(left - right), rounded after the multiplication and again after the shift."""
    shifted = (np.asarray(x, np.int64) << left).astype(np.int32)
    return divided(high_product(shifted, multiplier), right, away)


# exp(-2^e) with 31 binary places, for the exponents e = -2 … 4.
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_OF_MINUS_EIGHTH, _THIRD = 1895147668, 715827883
_INTEGER_BITS = 5  # of a distance: 26 binary places


def exponential(distance: Array) -> Array:
    """Return exp(-distance), with 31 binary places, of distances ≥ 0 with 26 of them."""
    negative = -np.asarray(distance, np.int64)
    quarter = 1 << (31 - _INTEGER_BITS - 2)
    rest = (negative & (quarter - 1)) - quarter  # in [-1/4, 0)
    x = (rest << _INTEGER_BITS) + (1 << 28)  # from -1/8, where the Taylor series is
    square = high_product(x, x)
    cube, fourth = high_product(square, x), high_product(square, square)
    series = divided(high_product(divided(fourth, 2) + cube, _THIRD) + square, 1)
    result = _EXP_OF_MINUS_EIGHTH + high_product(x + series, _EXP_OF_MINUS_EIGHTH)
    whole_quarters = rest - negative
    for place, power in enumerate(_POWERS):
        result = np.where(whole_quarters & (quarter << place), high_product(result, power), result)
    return np.where(negative == 0, ONE, result)


def reciprocal(x: Array) -> Array:
    """Return 1 / (1 + x), with 31 binary places, of x in [0, 1) with 31 of them: three steps of Newton's method."""
    half_sum = np.asarray(x, np.int64) + ONE
    half = (half_sum + 1) >> 1  # (1 + x) / 2; half_sum ≥ 0
    guess = 1515870810 + high_product(half, -1010580540)  # 48/17 - 32/17 · half, with 29 binary places
    for _ in range(3):
        missing = (1 << 29) - high_product(half, guess)
        guess = guess + (high_product(guess, missing) << 2)
    return np.asarray(np.minimum(guess << 1, ONE))  # half of guess, with 31 binary places
