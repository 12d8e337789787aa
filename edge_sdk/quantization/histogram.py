"""How often numbers occur: in bounded memory whatever their range, and whatever batches they come in."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.spec import Array

SIDE = 8192
"""Bins on either side of zero: 32 or more for each step of 8 bits."""


class Histogram:
    """Counts of numbers in equal bins from -limit to limit, where limit is a power of two above all of them.

    When a larger number comes, the limit is doubled and bins are merged in pairs. Since the edges of the wider bins
    are edges of the narrower ones too, the counts are those of a histogram that had the last limit from the start.
    Zeros are counted apart: they have no error under any scale.

    Attributes:
        counts: int64 (2 · SIDE,).
        limit: The upper edge of the last bin; 0 as long as only zeros were seen.
        zeros: How many numbers were zero.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * SIDE, np.int64)
        self.limit = 0.0
        self.zeros = 0

    def add(self, numbers: Array) -> None:
        """Count finite numbers of any shape."""
        flat = numbers.reshape(-1)
        flat = flat[flat != 0]
        self.zeros += numbers.size - flat.size
        if not flat.size:
            return
        self._grow(max(float(flat.max()), -float(flat.min())))
        # A power of two, so that the product is exact.
        index = np.floor(flat.astype(np.float64) * (SIDE / self.limit)).astype(np.int64) + SIDE
        self.counts += np.bincount(index, minlength=2 * SIDE)

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum()) + self.zeros

    @property
    def width(self) -> float:
        """The width of a bin."""
        return self.limit / SIDE

    def occupied(self) -> tuple[Array, Array]:
        """Return the centres (bins,) of the bins that hold numbers, ascending, and how many (bins,), without zeros."""
        (index,) = np.nonzero(self.counts)
        return (index - SIDE + 0.5) * self.width, self.counts[index]

    def _grow(self, largest: float) -> None:
        limit = math.ldexp(1.0, math.frexp(largest)[1])
        if self.limit == 0:
            self.limit = limit
        while self.limit < limit:
            self.counts = _merged(self.counts)
            self.limit *= 2


def _merged(counts: Array) -> Array:
    pairs = counts.reshape(SIDE, 2).sum(axis=1)
    wider = np.zeros_like(counts)
    wider[SIDE // 2 : SIDE // 2 + SIDE] = pairs
    return wider
