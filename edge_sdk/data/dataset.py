"""What the loader reads from: labelled photos by index, on disk (folder.py) or in memory (here)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from edge_sdk.data.images import Photo, as_rgb
from edge_sdk.errors import DataError


class Dataset(Protocol):
    """Labelled photos. Index i runs from 0 to len - 1; a label is an index into `labels`, or -1 where there is none."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the network's outputs."""
        ...

    def __len__(self) -> int: ...

    def photo(self, index: int, shortest: int | None = None) -> Image.Image:
        """Return photo `index`, upright and RGB; raises DataError if it cannot be read.

        `shortest` allows a decoder to deliver a smaller photo whose shorter side still has that many pixels.
        """
        ...

    def label(self, index: int) -> int:
        """Return the label of photo `index`."""
        ...

    def name(self, index: int) -> str:
        """Return what photo `index` is called in messages and in the split."""
        ...

    def select(self, indices: Sequence[int]) -> Self:
        """Return the dataset of these photos, in this order, with the same labels."""
        ...

    def fingerprint(self) -> str:
        """Return a SHA-256 in hexadecimal that changes when photos or labels do."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """Photos in memory. Make one with `ArrayDataset.of`, which checks what it is given."""

    labels: tuple[str, ...]
    photos: NDArray[np.uint8] | tuple[Photo, ...]
    indices: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        photos: NDArray[np.uint8] | Sequence[Photo],
        indices: ArrayLike,
        labels: Sequence[str],
        names: Sequence[str] | None = None,
    ) -> ArrayDataset:
        """Pair `photos` with one label index each.

        `photos` is uint8 (n, height, width) or (n, height, width, channels), or a sequence of paths, PIL images and
        uint8 arrays. `indices` (n,) are whole numbers from 0 to len(labels) - 1, or -1 for a photo without label.
        `names` default to the positions. Lengths, ranges or types that do not fit raise DataError.
        """
        if isinstance(photos, np.ndarray):
            if photos.dtype != np.uint8 or photos.ndim not in (3, 4):
                raise DataError(
                    f"photos: wanted uint8 (n, height, width[, channels]), found {photos.dtype} {photos.shape}"
                )
        else:
            photos = tuple(photos)
        numbers = np.asarray(indices)
        if numbers.size and not np.issubdtype(numbers.dtype, np.integer):
            raise DataError(f"labels: wanted whole numbers, one per photo, found {numbers.dtype}")
        if numbers.shape != (len(photos),):
            raise DataError(f"labels: wanted one per photo, {len(photos)}, found shape {numbers.shape}")
        for wrong in numbers[(numbers < -1) | (numbers >= len(labels))][:1]:
            raise DataError(f"labels: {wrong} is out of range; there are {len(labels)} classes, 0 to {len(labels) - 1}")
        if len(set(labels)) != len(labels):
            raise DataError(f"labels: the names must differ from each other, found {list(labels)}")
        if names is not None and len(names) != len(photos):
            raise DataError(f"names: wanted one per photo, {len(photos)}, found {len(names)}")
        chosen = tuple(str(position) for position in range(len(photos))) if names is None else tuple(names)
        return cls(tuple(labels), photos, tuple(numbers.tolist()), chosen)

    def __len__(self) -> int:
        return len(self.indices)

    def photo(self, index: int, shortest: int | None = None) -> Image.Image:
        """Return photo `index`, upright and RGB; raises DataError that names it if it cannot be read."""
        try:
            return as_rgb(self.photos[index], shortest)
        except DataError as error:
            raise DataError(f"photo {self.names[index]}: {error}") from error

    def label(self, index: int) -> int:
        """Return the label of photo `index`."""
        return self.indices[index]

    def name(self, index: int) -> str:
        """Return the name of photo `index`."""
        return self.names[index]

    def select(self, indices: Sequence[int]) -> ArrayDataset:
        """Return the dataset of these photos, in this order, with the same labels."""
        photos: NDArray[np.uint8] | tuple[Photo, ...]
        if isinstance(self.photos, np.ndarray):
            photos = self.photos[np.asarray(indices, np.intp)]
        else:
            photos = tuple(self.photos[index] for index in indices)
        return ArrayDataset(
            self.labels,
            photos,
            tuple(self.indices[index] for index in indices),
            tuple(self.names[index] for index in indices),
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of labels, names and pixels (of photos given as paths: the name and size of the file)."""
        digest = hashlib.sha256(repr((self.labels, self.indices, self.names)).encode())
        for photo in self.photos:
            digest.update(_photo_bytes(photo))
        return digest.hexdigest()


def _photo_bytes(photo: Any) -> bytes:
    if isinstance(photo, np.ndarray):
        return repr((photo.shape, str(photo.dtype))).encode() + np.ascontiguousarray(photo).tobytes()
    if isinstance(photo, Image.Image):
        return repr((photo.size, photo.mode)).encode() + photo.tobytes()
    if isinstance(photo, bytes):
        return photo
    try:
        return repr((os.fspath(photo), Path(photo).stat().st_size)).encode()
    except (OSError, TypeError):  # the loader will name it as unreadable
        return repr(photo).encode()
