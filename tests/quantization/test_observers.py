"""Observers: which range of the numbers seen gets integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

from edge_sdk.errors import UsageError
from edge_sdk.quantization.histogram import SIDE, Histogram
from edge_sdk.quantization.observers import OBSERVERS, Seen, observer
from edge_sdk.quantization.parameters import Range

NUMBERS = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
BATCHES = st.lists(arrays(np.float32, (3, 5), elements=NUMBERS), min_size=1, max_size=4)
WHERE_RANGES_TOUCH = 1e-5


def chosen(name: str, *batches: np.ndarray, symmetric: bool = False, stored: str = "int8") -> Range:
    """The range an observer chooses of batches that come one after the other."""
    seen = Seen(histogram=True)
    for batch in batches:
        seen.add(batch)
    return observer(name).choose(seen, symmetric, stored)


@pytest.mark.parametrize("name", OBSERVERS)
@given(batches=BATCHES, symmetric=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_range_lies_within_what_was_seen(name, batches, symmetric):
    """No observer invents numbers."""
    numbers = np.concatenate(batches)

    found = chosen(name, *batches, symmetric=symmetric)

    slack = WHERE_RANGES_TOUCH * max(abs(numbers.min()), abs(numbers.max()))
    assert min(numbers.min(), 0) - slack <= found.low <= found.high + slack
    assert found.high <= max(numbers.max(), 0) + slack


@given(BATCHES)
@settings(max_examples=40, deadline=None)
def test_more_data_never_shrinks_the_extremes(batches):
    """And they are NumPy's."""
    before = chosen("min-max", *batches[:1])

    after = chosen("min-max", *batches)

    assert after.low <= before.low
    assert after.high >= before.high
    assert after == Range(float(np.min(batches)), float(np.max(batches)))


@pytest.mark.parametrize("name", OBSERVERS)
@given(batches=BATCHES)
@settings(max_examples=30, deadline=None)
def test_images_one_by_one_give_what_a_batch_gives(name, batches):
    """Moving averages count images, and histograms that grow end where they would have begun."""
    images = np.concatenate(batches)

    found = chosen(name, *(image[np.newaxis] for image in images))

    assert found == chosen(name, images)


@pytest.mark.parametrize("name", OBSERVERS)
@given(batch=arrays(np.float32, (4, 6), elements=NUMBERS), exponent=st.integers(-8, 8))
@settings(max_examples=30, deadline=None)
def test_numbers_twice_as_large_have_a_range_twice_as_large(name, batch, exponent):
    """Scaling by a power of two is exact, so that nothing else may change."""
    batch = np.where(np.abs(batch) < 1e-20, 0, batch)
    factor = 2.0**exponent
    one = chosen(name, batch)

    scaled = chosen(name, batch * np.float32(factor))

    assert (scaled.low, scaled.high) == pytest.approx((one.low * factor, one.high * factor), rel=1e-6, abs=1e-12)


def test_a_growing_histogram_has_the_counts_of_one_that_was_wide_enough():
    """Against numpy.histogram with the final edges; numbers from 1e-3 to 1e3, small ones first."""
    random = np.random.default_rng(0)
    batches = [random.normal(0, spread, 1000).astype(np.float32) for spread in (1e-3, 0.5, 1, 70, 1e3)]
    histogram = Histogram()

    for batch in batches:
        histogram.add(batch)

    largest = float(np.abs(np.concatenate(batches)).max())
    edges = np.linspace(-histogram.limit, histogram.limit, 2 * SIDE + 1)
    assert histogram.limit == 2.0 ** math.ceil(math.log2(largest))
    np.testing.assert_array_equal(histogram.counts, np.histogram(np.concatenate(batches), edges)[0])


def test_zeros_are_counted_apart():
    """Before and after other numbers."""
    histogram = Histogram()

    histogram.add(np.zeros((2, 3), np.float32))
    histogram.add(np.array([0, 1, -1], np.float32))

    assert (histogram.zeros, histogram.total) == (7, 9)
    np.testing.assert_array_equal(histogram.occupied()[1], [1, 1])


@pytest.mark.parametrize(("name", "share"), [("percentile-99.9", 0.999), ("percentile", 0.9999)])
def test_a_percentile_is_numpys(name, share):
    """Of a million numbers, to the width of a bin."""
    numbers = np.random.default_rng(1).normal(0.5, 2, (10, 100_000)).astype(np.float32)

    found = chosen(name, numbers)

    width = 2.0 ** math.ceil(math.log2(np.abs(numbers).max())) / SIDE
    low, high = np.quantile(numbers, 1 - share, method="higher"), np.quantile(numbers, share, method="lower")
    assert found.low == pytest.approx(low, abs=2 * width)
    assert found.high == pytest.approx(high, abs=2 * width)


def test_one_outlier_in_many_is_left_out_by_a_percentile_and_seen_by_the_extremes():
    """A single 1000 among 200 000 numbers up to 1."""
    numbers = np.random.default_rng(2).uniform(-1, 1, (1, 200_000)).astype(np.float32)
    numbers[0, 7] = 1000

    assert chosen("min-max", numbers).high == 1000
    assert chosen("percentile", numbers).high < 1.2


def test_a_percentile_counts_zeros_too():
    """What a ReLU leaves, by hand: 1 of 10 000 may go."""
    numbers = np.zeros((1, 10_000), np.float32)
    numbers[0, :3] = 1, 2, 4

    found = chosen("percentile", numbers)

    assert found.low == 0
    assert found.high == pytest.approx(2, abs=2 * 8 / SIDE)


def test_the_moving_average_by_hand():
    """The plain mean of the images' extremes as long as there are fewer than a hundred."""
    batch = np.array([[-1, 3], [-2, 5], [-6, 4]], np.float32)

    found = chosen("moving-average", batch)

    assert (found.low, found.high) == pytest.approx((-3, 4))


def test_the_moving_average_forgets_a_first_image():
    """After the hundredth image a new one has a weight of 1 in 100: 0.99^900 of the mean of the first 100 is left."""
    batch = np.concatenate([np.full((100, 2), 8), np.full((900, 2), 4)]).astype(np.float32)

    found = chosen("moving-average", batch)

    assert found.high == pytest.approx(4 + 4 * 0.99**900, rel=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
def test_mean_square_error_finds_the_least(symmetric):
    """Against SciPy's search of the clipping that minimises the exact error of a heavy-tailed sample."""
    numbers = np.random.default_rng(3).standard_t(2.5, (1, 40_000)).astype(np.float32)
    numbers = numbers if symmetric else np.abs(numbers)

    found = chosen("mse", numbers, symmetric=symmetric)

    def error(limit: float) -> float:
        scale = limit / (127 if symmetric else 255)
        lowest, highest = (-128, 127) if symmetric else (0, 255)
        return float(((np.clip(np.round(numbers / scale), lowest, highest) * scale - numbers) ** 2).mean())

    limit = float(np.abs(numbers).max())
    best = min(
        (minimize_scalar(error, bounds=(limit * a, limit * a * 2), method="bounded") for a in (1 / 32, 1 / 8, 1 / 2)),
        key=lambda result: result.fun,
    )
    assert error(max(found.high, -found.low)) <= 1.03 * best.fun
    assert error(max(found.high, -found.low)) < error(limit)


@pytest.mark.parametrize("name", ["mse", "entropy"])
def test_16_bits_keep_a_tail_that_8_bits_cut(name):
    """65535 steps have room for it: of a heavy-tailed sample any cut loses more than the finer steps win.

    By the exact error of int16 numbers, with no cut and with the one that suits 8 bits.
    """
    numbers = np.random.default_rng(3).standard_t(2.5, (1, 40_000)).astype(np.float32)

    wide, narrow = chosen(name, numbers, stored="int16"), chosen(name, numbers)

    def error(limit: float) -> float:
        steps = np.clip(np.round(numbers / (limit / 32767)), -32768, 32767)
        return float(((steps * (limit / 32767) - numbers) ** 2).mean())

    limit = float(np.abs(numbers).max())
    assert (wide.low, wide.high) == (numbers.min(), numbers.max())
    assert max(narrow.high, -narrow.low) < limit
    assert error(limit) < error(max(narrow.high, -narrow.low)) / 100


def test_mean_square_error_of_16_bits_cuts_what_is_worth_it():
    """One number a million times larger than all others; against the exact error of every limit that is tried."""
    numbers = np.random.default_rng(5).uniform(-1, 1, (1, 2_000_000)).astype(np.float32)
    numbers[0, 7] = 3000

    found = chosen("mse", numbers, stored="int16").high

    def error(limit: float) -> float:
        steps = np.clip(np.round(numbers / (limit / 32767)), -32768, 32767)
        return float(((steps * (limit / 32767) - numbers) ** 2).sum(dtype=np.float64))

    best = min((3000 * 2.0 ** (-np.arange(41) / 8)), key=error)
    assert error(found) <= 1.05 * error(best)


def test_entropy_cuts_a_long_thin_tail_and_keeps_a_flat_distribution():
    """Uniform numbers lose information at any cut; normal ones with one far outlier lose none at a deep one."""
    random = np.random.default_rng(4)
    flat = random.uniform(0, 1, (1, 100_000)).astype(np.float32)
    tail = np.abs(random.normal(0, 1, (1, 100_000))).astype(np.float32)
    tail[0, 0] = 40

    assert chosen("entropy", flat).high > 0.9
    assert chosen("entropy", tail).high < 20


def test_an_unknown_observer_gets_a_suggestion():
    """A misspelt name."""
    with pytest.raises(UsageError, match="percentile"):
        observer("percentil")
