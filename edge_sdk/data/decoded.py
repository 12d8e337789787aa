"""A data set whose photos are decoded once, for all who run networks on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_sdk.data.cache import PixelCache
from edge_sdk.data.dataset import Dataset
from edge_sdk.data.images import as_rgb
from edge_sdk.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

KEPT_BYTES = 512 * 2**20
"""The most memory for a data set's crops: 3500 photos of 224 × 224 pixels. The others are decoded each time."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Photos of another data set; the crops that networks take of them are kept, by all selections together.

    `places` are the photos' indices in the data set that was there first, by which crops are known.
    """

    dataset: Dataset
    places: tuple[int, ...]
    crops: PixelCache

    @classmethod
    def of(cls, dataset: Dataset, most: int = KEPT_BYTES) -> Decoded:
        """Return the data set with a memory of `most` bytes; one that has a memory keeps its own."""
        return dataset if isinstance(dataset, cls) else cls(dataset, tuple(range(len(dataset))), PixelCache(most))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.dataset.labels

    def __len__(self) -> int:
        return len(self.dataset)

    def photo(self, index: int, shortest: int | None = None) -> Image.Image:
        """Return photo `index`, decoded anew."""
        return self.dataset.photo(index, shortest)

    def crop(self, index: int, preprocess: Preprocess) -> NDArray[np.uint8]:
        """Return uint8 (height, width, channels): what a rule cuts out of photo `index`, which is not to be changed."""
        # Neither numbers nor the order of channels are part of a crop.
        geometry = (preprocess.shape, preprocess.resize, preprocess.stretch, preprocess.interpolation)
        key = (self.places[index], *geometry)
        pixels = self.crops.get(key)
        if pixels is None:
            pixels = preprocess.crop(as_rgb(self.dataset.photo(index)))
            self.crops.put(key, pixels)
        return pixels

    def label(self, index: int) -> int:
        """Return the label of photo `index`."""
        return self.dataset.label(index)

    def name(self, index: int) -> str:
        """Return the name of photo `index`."""
        return self.dataset.name(index)

    def select(self, indices: Sequence[int]) -> Decoded:
        """Return the data set of these photos, with the same memory."""
        places = tuple(self.places[index] for index in indices)
        return dataclasses.replace(self, dataset=self.dataset.select(indices), places=places)

    def fingerprint(self) -> str:
        """Return the other data set's."""
        return self.dataset.fingerprint()
