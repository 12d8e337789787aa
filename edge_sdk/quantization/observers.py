"""Which range of an activation gets integers: all that was seen, or less where rare numbers would cost the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.quantization.histogram import Histogram
from edge_sdk.quantization.parameters import Range, activation_parameters
from edge_sdk.quantization.scheme import ActivationType
from edge_sdk.spec import Array

SLOWEST = 0.01
"""The least weight of an image in the moving average; the first hundred images have the same weight."""
SHARES = 2.0 ** (-np.arange(41) / 8)
"""By which the ends of a range are drawn in, from none to a 32nd."""
ROUNDS = 2
"""How often either end is moved while the other one stays."""


class Seen:
    """What is remembered of all values of one activation.

    Attributes:
        extremes: The smallest and the largest number.
        average: The averages of the images' smallest and largest numbers, later images counting 1 in 100.
        histogram: How often each number occurs, if that was asked for.
    """

    def __init__(self, histogram: bool) -> None:
        self.extremes = Range(np.inf, -np.inf)
        self.average = Range(0.0, 0.0)
        self.histogram = Histogram() if histogram else None
        self._images = 0

    def add(self, values: Array) -> None:
        """Take in the activation of some images, (n, …)."""
        images = values.reshape(len(values), -1)
        lows, highs = images.min(axis=1), images.max(axis=1)
        self.extremes = self.extremes.union(Range(float(lows.min()), float(highs.max())))
        for low, high in zip(lows.tolist(), highs.tolist(), strict=True):
            self._images += 1
            weight = max(1 / self._images, SLOWEST)
            before = self.average
            self.average = Range(before.low + weight * (low - before.low), before.high + weight * (high - before.high))
        if self.histogram is not None and np.isfinite([self.extremes.low, self.extremes.high]).all():
            self.histogram.add(values)

    def within(self, low: float, high: float) -> Range:
        """Return a range, cut to what was seen."""
        return Range(max(low, self.extremes.low), min(high, self.extremes.high))


@dataclass(frozen=True)
class Observer:
    """A way to choose ranges: `choose` takes what was seen, whether parameters are symmetric, and the stored type."""

    choose: Callable[[Seen, bool, ActivationType], Range]
    needs_histogram: bool


def _extremes(seen: Seen, symmetric: bool, stored: ActivationType) -> Range:
    return seen.extremes


def _average(seen: Seen, symmetric: bool, stored: ActivationType) -> Range:
    return seen.within(seen.average.low, seen.average.high)


def _percentile(one_in: int, seen: Seen, symmetric: bool, stored: ActivationType) -> Range:
    """At either end at most one in so many of all numbers is cut off; bins are cut off whole or not at all."""
    histogram = _histogram(seen)
    centres, counts = histogram.occupied()
    half = histogram.width / 2
    place = int(np.searchsorted(centres, 0))
    centres, counts = np.insert(centres, place, 0.0), np.insert(counts, place, histogram.zeros)
    allowed = int(counts.sum()) // one_in
    first = int(np.searchsorted(np.cumsum(counts), allowed, side="right"))
    last = len(counts) - 1 - int(np.searchsorted(np.cumsum(counts[::-1]), allowed, side="right"))
    return seen.within(float(centres[first] - half), float(centres[last] + half))


def _square_error(histogram: Histogram, chosen: Range, symmetric: bool, stored: ActivationType) -> float:
    """Return Σ (stored - real)² over the numbers seen.

    Steps of 16 bits are finer than the bins: the numbers of one lie anywhere in a step, scale² / 12 from its middle.
    """
    centres, counts = histogram.occupied()
    scale, lowest, highest = _steps(chosen, symmetric, stored)
    nearest = np.rint(centres / scale)
    error = (np.clip(nearest, lowest, highest) * scale - centres) ** 2
    if scale < histogram.width:
        error = np.where((nearest >= lowest) & (nearest <= highest), scale**2 / 12, error)
    return float((error * counts).sum())


def _divergence(histogram: Histogram, chosen: Range, symmetric: bool, stored: ActivationType) -> float:
    """Return KL(P ‖ Q): P is how often each bin occurs once the range is cut, Q what its steps can tell of that.

    A step's numbers are spread over its bins evenly (Migacz, 8-bit inference with TensorRT, 2017).
    """
    centres, counts = histogram.occupied()
    scale, lowest, highest = _steps(chosen, symmetric, stored)
    step = np.rint(centres / scale)
    inside = (step >= lowest) & (step <= highest)
    if not inside.any():
        return np.inf
    (index,) = np.nonzero(inside)
    p = counts[inside].astype(np.float64)
    levels = (step[inside] - step[inside].min()).astype(np.int64)
    q = (np.bincount(levels, p) / np.maximum(np.bincount(levels), 1))[levels]
    p[0] += counts[: index[0]].sum()
    p[-1] += counts[index[-1] + 1 :].sum()
    return float((p / p.sum() * np.log((p / p.sum()) / (q / q.sum()))).sum())


def _steps(chosen: Range, symmetric: bool, stored: ActivationType) -> tuple[float, int, int]:
    """Return the scale of a range, and between which multiples of it numbers are stored."""
    quant, limits = activation_parameters(chosen, symmetric, stored), np.iinfo(stored)
    return quant.scale[0], limits.min - quant.zero_point[0], limits.max - quant.zero_point[0]


def _least(
    measure: Callable[[Histogram, Range, bool, ActivationType], float],
    seen: Seen,
    symmetric: bool,
    stored: ActivationType,
) -> Range:
    """Draw in one end after the other to where the measure is smallest; of equals, to the wider range."""
    histogram, low, high = _histogram(seen), seen.extremes.low, seen.extremes.high
    best = Range(low, high)
    if not histogram.limit:
        return best

    def measured(chosen: Range) -> float:
        return measure(histogram, chosen, symmetric, stored)

    for _ in range(ROUNDS):
        if high > 0:
            best = min((Range(best.low, high * share) for share in SHARES), key=measured)
        if low < 0:
            best = min((Range(low * share, best.high) for share in SHARES), key=measured)
    return best


def _histogram(seen: Seen) -> Histogram:
    if seen.histogram is None:
        raise UsageError("this observer needs a histogram of what was seen; ask calibrate for one")
    return seen.histogram


OBSERVERS: Mapping[str, Observer] = {
    "min-max": Observer(_extremes, needs_histogram=False),
    "moving-average": Observer(_average, needs_histogram=False),
    "percentile-99.9": Observer(partial(_percentile, 1000), needs_histogram=True),
    "percentile": Observer(partial(_percentile, 10_000), needs_histogram=True),
    "percentile-99.999": Observer(partial(_percentile, 100_000), needs_histogram=True),
    "mse": Observer(partial(_least, _square_error), needs_histogram=True),
    "entropy": Observer(partial(_least, _divergence), needs_histogram=True),
}
"""By name. "percentile" is 99.99: at most one number in 10 000 is above the range, and one below it."""


def observer(name: str) -> Observer:
    """Return the observer of a name; raises UsageError with a suggestion for one that is none."""
    if name not in OBSERVERS:
        raise UsageError(f"observer {name!r} is not one of {', '.join(OBSERVERS)}{suggestion(name, OBSERVERS)}")
    return OBSERVERS[name]
