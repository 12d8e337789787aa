"""Pixels kept from one epoch to the next, up to a number of bytes."""

from __future__ import annotations

import threading
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray


class PixelCache:
    """A map from whatever names a photo to uint8 pixels that stops growing at `limit` bytes; threads may share it.

    The first photos to arrive stay. Epochs visit every photo equally often, so replacing one by another would gain
    nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._pixels: dict[Hashable, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def get(self, photo: Hashable) -> NDArray[np.uint8] | None:
        """Return the pixels of a photo, or None."""
        return self._pixels.get(photo)

    def put(self, photo: Hashable, pixels: NDArray[np.uint8]) -> None:
        """Keep the pixels if there is room for them."""
        with self._lock:
            if photo not in self._pixels and self._bytes + pixels.nbytes <= self._limit:
                self._pixels[photo] = pixels
                self._bytes += pixels.nbytes
