"""Fixed-point products and functions against exact arithmetic on Python's own numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.quantization.fixed_point import (
    divided,
    exponential,
    fixed_factors,
    half_away,
    high_product,
    product,
    reciprocal,
)

int32 = st.integers(-(2**31) + 1, 2**31 - 1)


def nearest_away(x: Fraction) -> int:
    """The nearest whole number, halves away from zero."""
    return math.floor(abs(x) + Fraction(1, 2)) * (-1 if x < 0 else 1)


def nearest_up(x: Fraction) -> int:
    """The nearest whole number, halves upwards."""
    return math.floor(x + Fraction(1, 2))


@given(x=st.floats(-1e6, 1e6))
def test_halves_go_away_from_zero(x):
    """Also of the numbers just below a half, which adding a half would round up."""
    assert half_away(np.array([x])) == [nearest_away(Fraction(x))]
    assert half_away(np.array([0.49999999999999994, -2.5, 3.5])).tolist() == [0, -3, 4]


@given(real=st.floats(1e-8, 1e6))
def test_a_factor_has_31_significant_bits(real):
    """The multiplier fills the upper half of its range; with its shift it is the factor to within half a bit."""
    (multiplier,), (shift,) = fixed_factors(np.array([real]))

    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(int(multiplier)) * Fraction(2) ** int(shift - 31) / Fraction(real) - 1) <= Fraction(1, 2**31)


def test_a_factor_too_small_is_nothing():
    """Below 2^-32 all bits would be shifted out."""
    assert [int(part[0]) for part in fixed_factors(np.array([2.0**-40]))] == [0, 0]


@given(a=int32, b=int32, exponent=st.integers(0, 31))
def test_products_and_quotients_are_rounded(a, b, exponent):
    """Halves of a product upwards, those of a quotient away from zero, or upwards where that is asked for."""
    assert high_product(np.array([a]), b) == [nearest_up(Fraction(a * b, 2**31))]
    assert divided(np.array([a]), exponent) == [nearest_away(Fraction(a, 2**exponent))]
    assert divided(np.array([a]), exponent, away=0) == [nearest_up(Fraction(a, 2**exponent))]


@given(total=st.integers(-(2**26), 2**26), real=st.floats(1e-5, 3))
def test_a_sum_times_a_factor_is_off_by_no_more_than_both_roundings(total, real):
    """Half a step after the shift, and half of what is left of a bit before it."""
    (multiplier,), (shift,) = fixed_factors(np.array([real]))
    left, right = max(shift, 0), max(-shift, 0)

    (found,) = product(np.array([total]), multiplier, left, right, 1)

    exact = Fraction(int(multiplier)) * Fraction(2) ** int(shift - 31) * total
    assert abs(int(found) - exact) <= Fraction(1, 2) + Fraction(1, 2) / 2 ** int(right)


@given(distance=st.integers(0, 31 << 26))
def test_exponentials(distance):
    """The Taylor series is good to a millionth, for distances with 26 binary places."""
    found = int(exponential(np.array([distance]))[0])

    assert abs(found / 2**31 - math.exp(-distance / 2**26)) < 2**-20


@given(x=st.integers(0, 2**31 - 1))
def test_reciprocals(x):
    """1 / (1 + x) by three steps of Newton's method."""
    found = int(reciprocal(np.array([x]))[0])

    assert abs(found / 2**31 - 1 / (1 + x / 2**31)) < 2**-27
