"""Photos decoded once: the same crops, kept for whoever asks, up to a number of bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import rescaled_model, tiny_model

import edge_sdk as edge
from edge_sdk.converters.gate import Limits
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.decoded import Decoded
from edge_sdk.data.loader import Loader
from edge_sdk.errors import ExportError
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import CalibrationImages

RULE = Preprocess((8, 6), resize=10, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
PHOTOS = np.random.default_rng(0).integers(0, 256, (6, 12, 14, 3), np.uint8)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the photos that were decoded, in order."""
    seen: list[str] = []
    right = ArrayDataset.photo

    def counted(self, index, shortest=None):
        seen.append(self.name(index))
        return right(self, index, shortest)

    monkeypatch.setattr(ArrayDataset, "photo", counted)
    return seen


def dataset(count: int = 6) -> ArrayDataset:
    """The first photos, with labels in turn."""
    return ArrayDataset.of(PHOTOS[:count], [index % 2 for index in range(count)], ("a", "b"))


def test_a_memory_changes_no_pixel(decoded):
    """Rules of other sizes, orders and numbers get what they would have got, and one photo is decoded for each size."""
    photos = Decoded.of(dataset())
    rules = [
        RULE,
        replace(RULE, mean=(0.0,) * 3, channels="bgr"),
        replace(RULE, interpolation="nearest"),
        replace(RULE, resize=None),
        replace(RULE, resize=None, stretch=(9, 9)),
        replace(RULE, channels="grey", mean=(0.0,), std=(1.0,)),
        replace(RULE, size=(6, 6)),
    ]

    found = [[batch.image for batch in Loader(photos, rule, 4)] for rule in rules for _ in range(2)]

    assert len(decoded) == 6 * (len(rules) - 1)
    wanted = [[batch.image for batch in Loader(dataset(), rule, 4)] for rule in rules for _ in range(2)]
    for some, others in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(np.concatenate(some), np.concatenate(others))


def test_parts_share_the_memory(decoded):
    """What one part has decoded another one finds, under an index of its own."""
    photos = Decoded.of(dataset())
    part = photos.select([4, 1])

    crops = [part.crop(0, RULE), photos.crop(4, RULE), photos.select([5, 4]).select([1]).crop(0, RULE)]

    assert decoded == ["4"]
    for crop in crops:
        np.testing.assert_array_equal(crop, RULE.crop(dataset().photo(4)))
    assert (part.labels, part.label(1), part.name(1), len(part)) == (("a", "b"), 1, "1", 2)
    assert part.fingerprint() == dataset().select([4, 1]).fingerprint()
    assert Decoded.of(part) is part


def test_what_has_no_room_is_decoded_again(decoded):
    """Two crops fit; the third photo is decoded as often as it is asked for."""
    photos = Decoded.of(dataset(3), most=2 * 8 * 6 * 3)

    for _ in range(3):
        [photos.crop(index, RULE) for index in range(3)]

    assert decoded == ["0", "1", "2", "2", "2"]


def test_photos_that_decide_and_that_judge_are_decoded_once(decoded):
    """Though each part is made from the batches of all of them."""
    photos = ArrayDataset.of(np.tile(PHOTOS, (4, 1, 1, 1)), [-1] * 24, ("a",))

    parts = CalibrationImages.of(photos, ("a",), RULE).set_aside()

    for _ in range(2):
        assert [sum(map(len, part)) for part in parts] == [18, 6]
    assert sorted(decoded, key=int) == [str(index) for index in range(24)]


def test_a_climb_decodes_its_photos_once(decoded, tmp_path, monkeypatch):
    """However many files are finished: once to look at them, once for the networks, the files and their self-tests."""
    model = rescaled_model(tiny_model())
    pixels = np.random.default_rng(3).integers(0, 256, (20, 16, 16, 3), np.uint8)
    names = {kind: [f"{kind}{index}" for index in range(20)] for kind in ("calibrate", "check")}
    photos = {kind: ArrayDataset.of(pixels, [-1] * 20, model.labels, named) for kind, named in names.items()}
    monkeypatch.setattr(Limits, "excess", lambda self, report: 1.0)  # of which no file is free

    with pytest.raises(ExportError, match="answers as the model does for"):
        edge.export(
            model, tmp_path / "a.tflite", "int8", **photos, min_agreement=100,
            rungs=("search", "equalization", "bias-correction"),
        )  # fmt: skip

    attempts = json.loads((tmp_path / "a.rejected.tflite.json").read_text())["report"]["attempts"]
    assert len(attempts) > 2
    assert {decoded.count(name) for name in names["calibrate"]} == {2}
    assert {decoded.count(name) for name in names["check"]} == {2}
