"""Whatever a caller hands over as photos, as a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edge_sdk.data.class_names import under_labels
from edge_sdk.data.dataset import ArrayDataset, Dataset
from edge_sdk.data.decoded import KEPT_BYTES, Decoded
from edge_sdk.data.folder import ImageFolder
from edge_sdk.errors import DataError
from edge_sdk.spec import Array

PhotoSource = Dataset | Array | Path | str
"""A folder of class folders, a folder of photos, uint8 images (n, h, w, c), or a data set."""


def open_photos(source: PhotoSource, labels: tuple[str, ...]) -> Dataset:
    """Return the photos of `source`, labelled if they lie in folders named after `labels`, else with the label -1.

    A data set keeps its labels, under the names and in the order of `labels`.

    Raises:
        DataError: there is no photo, the array is not uint8 images, or a data set has photos of other classes.
    """
    if isinstance(source, np.ndarray):
        return ArrayDataset.of(source, np.full(len(source), -1), labels)
    if not isinstance(source, str | Path):
        return under_labels(source, labels)
    try:
        return ImageFolder.scan(source, labels=labels).evaluation
    except DataError:
        return dataclasses.replace(ImageFolder.unlabelled(source), labels=labels)


def open_decoded(source: PhotoSource, labels: tuple[str, ...], most: int = KEPT_BYTES) -> Decoded:
    """As `open_photos`, for those who go through them several times: what is decoded is kept, in `most` bytes."""
    return Decoded.of(open_photos(source, labels), most)


def spread(dataset: Dataset, most: int) -> Dataset:
    """Return at most `most` photos, taken evenly from the whole data set."""
    if len(dataset) <= most:
        return dataset
    return dataset.select([index * len(dataset) // most for index in range(most)])


def labelled(dataset: Dataset) -> bool:
    """Tell whether every photo has a label."""
    return all(dataset.label(index) >= 0 for index in range(len(dataset)))
