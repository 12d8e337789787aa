"""A data set under the labels of a model: whatever order its own are in, a class is known by its name."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sdk.data.dataset import Dataset
from edge_sdk.errors import DataError, suggestion

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 5
"""So many names say which classes are meant."""


def under_labels(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """Return a data set whose labels are indices into `labels`, those of a model.

    Classes of the same name are the same class, in any order; those without a photo may have any name, and so may all
    where no photo has a label. A model whose labels are "0", "1", "2", … has no names of its own, and takes the data's
    in their order.

    Raises:
        DataError: a photo is of a class that the model does not have, or has more than once.
    """
    labels, own = tuple(labels), tuple(dataset.labels)
    if own == labels:
        return dataset
    if len(own) == len(labels) and nameless(labels):
        return _UnderLabels(dataset, labels, tuple(range(len(labels))))
    used = {dataset.label(index) for index in range(len(dataset))}
    count = Counter(labels)
    for place, name in enumerate(own):
        if place in used and count[name] != 1:
            raise DataError(
                f"the data's classes are {_shown(own)}, the model's {_shown(labels)}: {name!r} is "
                f"{'none' if not count[name] else 'more than one'} of those{suggestion(name, labels)}; name the "
                "classes as the model does, or give the photos without labels (-1), which do for a calibration"
            )
    places = {name: place for place, name in enumerate(labels)}
    return _UnderLabels(dataset, labels, tuple(places.get(name, -1) for name in own))


def training_photos(
    data: Dataset | Path | str,
    validation_data: Dataset | Path | str | None,
    labels: Sequence[str],
    *,
    hold_out: bool = True,
) -> tuple[Dataset | Path | str, Dataset | Path | str | None]:
    """Return what `fit` is to be given, so that a model with these labels learns no other order of its classes.

    With `hold_out` the validation folder of a divided `data` is taken where no other photos are given.

    Raises:
        DataError: photos of other classes, or a folder that cannot be trained on.
    """
    from edge_sdk.data.folder import ImageFolder

    if nameless(labels):
        return data, validation_data
    if isinstance(data, str | Path):
        folder = ImageFolder.scan(data, labels=labels)
        data = folder.train
        if validation_data is None and hold_out:
            validation_data = folder.validation
    else:
        data = under_labels(data, labels)
    if validation_data is not None and not isinstance(validation_data, str | Path):
        validation_data = under_labels(validation_data, labels)
    return data, validation_data


def nameless(labels: Sequence[str]) -> bool:
    """Tell whether labels are the numbers of a model that nobody has named the classes of."""
    return tuple(labels) == tuple(map(str, range(len(labels))))


@dataclass(frozen=True, eq=False)
class _UnderLabels:
    """Photos of another data set; `places` says where each of its classes stands among `labels`."""

    dataset: Dataset
    labels: tuple[str, ...]
    places: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.dataset)

    def photo(self, index: int, shortest: int | None = None) -> Image.Image:
        return self.dataset.photo(index, shortest)

    def label(self, index: int) -> int:
        own = self.dataset.label(index)
        return self.places[own] if own >= 0 else own

    def name(self, index: int) -> str:
        return self.dataset.name(index)

    def select(self, indices: Sequence[int]) -> _UnderLabels:
        return dataclasses.replace(self, dataset=self.dataset.select(indices))

    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.labels, self.dataset.fingerprint())).encode()).hexdigest()


def _shown(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:SHOWN]) + ", …" * (len(labels) > SHOWN) if labels else "none"
