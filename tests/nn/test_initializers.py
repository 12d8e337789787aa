"""Initial weights have the distributions of the papers; bounds are six standard errors of the statistic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_sdk import initializers
from edge_sdk.initializers import generator

SHAPE = (300, 400)
COUNT = 120_000
SIX = 6 / math.sqrt(COUNT)  # six standard errors of the mean of unit-variance numbers


def test_he_normal_has_variance_two_over_fan():
    """Mean 0, standard deviation √(2 / 50) = 0.2, and the tails of a normal distribution."""
    drawn = initializers.he_normal(generator(0, "w"), SHAPE, 50)

    assert drawn.shape == SHAPE
    assert drawn.dtype == np.float32
    assert abs(drawn.mean()) < 0.2 * SIX
    assert drawn.std() == pytest.approx(0.2, rel=SIX)
    # 4.55 % of a normal distribution lie beyond two deviations.
    assert np.mean(np.abs(drawn) > 0.4) == pytest.approx(0.0455, abs=0.21 * SIX)


def test_xavier_uniform_is_bounded_and_flat():
    """Bound √(6 / (100 + 50)) = 0.2; a quarter of the numbers in each quarter of the interval."""
    drawn = initializers.xavier_uniform(generator(0, "w"), SHAPE, 100, 50)

    assert drawn.dtype == np.float32
    assert np.abs(drawn).max() <= np.float32(0.2)
    assert np.abs(drawn).max() > 0.199
    shares = np.histogram(drawn, bins=4, range=(-0.2, 0.2))[0] / COUNT
    assert shares == pytest.approx([0.25] * 4, abs=0.433 * SIX)
    assert drawn.std() == pytest.approx(0.2 / math.sqrt(3), rel=SIX)


def test_truncated_normal_ends_at_two_deviations():
    """No number beyond 2 · 0.01; a normal distribution cut there has 0.8796 of its deviation."""
    drawn = initializers.truncated_normal(generator(0, "w"), SHAPE, 0.01)

    assert drawn.dtype == np.float32
    assert np.abs(drawn).max() <= np.float32(0.02)
    assert np.abs(drawn).max() > 0.0199
    assert abs(drawn.mean()) < 0.0088 * SIX
    assert drawn.std() == pytest.approx(0.008796, rel=SIX)


def test_constant_is_the_same_everywhere():
    """The value, as float32."""
    drawn = initializers.constant((2, 3), 0.5)

    assert drawn.dtype == np.float32
    assert drawn.tolist() == [[0.5] * 3] * 2


def test_numbers_belong_to_a_seed_and_a_name():
    """Another seed or name gives other numbers; the same ones give the same, whatever was drawn before."""
    first, again, other_seed, other_name = (
        generator(seed, name).standard_normal(5).tolist() for seed, name in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]
    )

    assert first == again
    assert len({tuple(first), tuple(other_seed), tuple(other_name)}) == 3


def test_large_layers_are_the_numbers_of_the_generator():
    """Drawn in pieces, they are the row of float64 numbers that NumPy gives at once, rounded."""
    count = 2 * initializers.PIECE + 5
    normal = generator(0, "w").standard_normal(count) * math.sqrt(2 / 7)
    flat = generator(0, "w").uniform(-1, 1, count)

    np.testing.assert_array_equal(initializers.he_normal(generator(0, "w"), (count,), 7), normal.astype(np.float32))
    np.testing.assert_array_equal(
        initializers.xavier_uniform(generator(0, "w"), (count, 1), 5, 1)[:, 0], flat.astype(np.float32)
    )


def test_empty_shapes_are_drawn():
    """A layer of no channels is odd but no endless loop."""
    assert initializers.truncated_normal(generator(0, "w"), (0, 3), 1).shape == (0, 3)
    assert initializers.he_normal(generator(0, "w"), (0, 3), 1).shape == (0, 3)
