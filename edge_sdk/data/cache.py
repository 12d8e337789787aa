"""Pixels kept from one epoch to the next, up to a number of bytes."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray


class PixelCache:
    """A map from index to uint8 pixels that stops growing at `limit` bytes; safe to share between threads.

    The first photos to arrive stay. Epochs visit every photo equally often, so replacing one by another would gain
    nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """Return the pixels of photo `index`, or None."""
        return self._pixels.get(index)

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep the pixels if there is room for them."""
        with self._lock:
            if index not in self._pixels and self._bytes + pixels.nbytes <= self._limit:
                self._pixels[index] = pixels
                self._bytes += pixels.nbytes
