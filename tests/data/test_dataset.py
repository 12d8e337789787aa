"""Photos in memory as a dataset."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.data import ArrayDataset, split_dataset
from edge_sdk.errors import DataError

PIXELS = np.arange(4 * 3 * 5 * 3, dtype=np.uint8).reshape(4, 3, 5, 3)


def test_array_of_photos():
    """An array's rows are the photos, named by position unless names are given."""
    dataset = ArrayDataset.of(PIXELS, [0, 1, 1, -1], ["no", "yes"])

    assert (len(dataset), dataset.labels) == (4, ("no", "yes"))
    assert [dataset.label(index) for index in range(4)] == [0, 1, 1, -1]
    assert dataset.name(2) == "2"
    np.testing.assert_array_equal(np.asarray(dataset.photo(2)), PIXELS[2])


def test_photos_of_every_kind(tmp_path, scene):
    """Paths, bytes, images and arrays may stand beside each other."""
    photo = scene(5, 3)
    photo.save(tmp_path / "photo.png")
    kinds = [tmp_path / "photo.png", str(tmp_path / "photo.png"), (tmp_path / "photo.png").read_bytes(), photo]
    dataset = ArrayDataset.of([*kinds, np.asarray(photo)], np.zeros(5, np.int64), ["only"])

    for index in range(5):
        np.testing.assert_array_equal(np.asarray(dataset.photo(index)), np.asarray(photo))


def test_selection_and_split():
    """A part keeps photos, labels and names together."""
    dataset = ArrayDataset.of(PIXELS, [0, 0, 1, 1], ["no", "yes"], names=["a", "b", "c", "d"])

    part = dataset.select([2, 0])
    training, validation = split_dataset(dataset, 0.5)

    assert [(part.name(index), part.label(index)) for index in range(2)] == [("c", 1), ("a", 0)]
    np.testing.assert_array_equal(np.asarray(part.photo(0)), PIXELS[2])
    assert sorted(training.names + validation.names) == ["a", "b", "c", "d"]
    assert sorted(training.indices) == sorted(validation.indices) == [0, 1]
    assert ArrayDataset.of(list(PIXELS), [0, 0, 1, 1], ["no", "yes"]).select([3]).name(0) == "3"


def test_fingerprint_sees_pixels_labels_and_names(tmp_path, scene):
    """Whatever would change the training changes the hash."""
    scene(4, 4).save(tmp_path / "photo.png")

    def fingerprint(photos=PIXELS, indices=(0, 1, 1, 0), labels=("no", "yes"), names=None) -> str:
        return ArrayDataset.of(photos, list(indices), labels, names).fingerprint()

    changed = PIXELS.copy()
    changed[3, 0, 0, 0] ^= 1
    mixed = [tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes(), scene(4, 4), tmp_path / "gone.png"]
    prints = [
        fingerprint(),
        fingerprint(photos=changed),
        fingerprint(indices=(0, 1, 1, 1)),
        fingerprint(labels=("yes", "no")),
        fingerprint(names=["a", "b", "c", "d"]),
        fingerprint(photos=mixed),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(photos=PIXELS.copy()) == prints[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PIXELS.astype(np.float32), [0] * 4, ["a"]), r"wanted uint8 .* found float32"),
        ((PIXELS[0, 0], [0] * 5, ["a"]), r"found uint8 \(5, 3\)"),
        ((PIXELS, [0] * 3, ["a"]), r"one per photo, 4, found shape \(3,\)"),
        ((PIXELS, [0, 0, 0, 1], ["a"]), "1 is out of range; there are 1 classes"),
        ((PIXELS, [0, 0, 0, -2], ["a"]), "-2 is out of range"),
        ((PIXELS, [0.0] * 4, ["a"]), "whole numbers"),
        ((PIXELS, [0] * 4, ["a", "a"]), "must differ"),
        ((PIXELS, [0] * 4, ["a"], ["x"]), "names: wanted one per photo, 4, found 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    """Lengths, ranges and types are checked at once and not during training."""
    with pytest.raises(DataError, match=message):
        ArrayDataset.of(*arguments)


def test_unreadable_photo_is_named():
    """The position or the given name stands in the message."""
    dataset = ArrayDataset.of([b"junk"], [0], ["a"], names=["upload 7"])

    with pytest.raises(DataError, match="photo upload 7: <4 bytes>: no image"):
        dataset.photo(0)
