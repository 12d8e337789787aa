"""Photos to calibrate on: which are set aside to judge by, and how often they are decoded."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import CalibrationImages

PREPROCESS = Preprocess((4, 4), mean=(0.0,) * 3, std=(1.0,) * 3)


def numbered(count: int) -> np.ndarray:
    """Photos of one grey each, by which they are told apart."""
    return np.tile(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), (1, 4, 4, 3))


def numbers(images: CalibrationImages) -> list[int]:
    """Which photos are handed out."""
    return [int(image[0, 0, 0]) for batch in images for image in batch]


def test_photos_that_are_left_over_judge():
    """Of 30, ten are calibrated on, evenly taken, and ten of the others judge."""
    images = CalibrationImages.of(numbered(30), ("a",), PREPROCESS, most=10)

    deciding, judging = images.set_aside()

    assert numbers(images) == numbers(deciding) == list(range(0, 30, 3))
    assert numbers(judging) == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]


@pytest.mark.parametrize(("photos", "most"), [(10, 10), (12, 10), (10, 200)])
def test_few_photos_are_shared_out(photos, most):
    """Every fourth judges where too few are left over; together they are those that are calibrated on."""
    images = CalibrationImages.of(numbered(photos), ("a",), PREPROCESS, most)

    deciding, judging = images.set_aside()

    everything = numbers(images)
    assert numbers(judging) == everything[3::4]
    assert sorted(numbers(deciding) + numbers(judging)) == everything


def test_of_fewer_than_eight_photos_none_is_spared():
    """All of them decide, and judge."""
    deciding, judging = CalibrationImages.of(numbered(7), ("a",), PREPROCESS).set_aside()

    assert numbers(deciding) == numbers(judging) == list(range(7))


def test_photos_are_decoded_once():
    """However often they are gone through."""
    decoded = []

    class Counting(ArrayDataset):
        def photo(self, index: int, shortest: int | None = None) -> Image.Image:
            decoded.append(index)
            return super().photo(index, shortest)

    images = CalibrationImages(Counting.of(numbered(5), [-1] * 5, ("a",)), PREPROCESS)

    first, second = numbers(images), numbers(images)

    assert first == second == [0, 1, 2, 3, 4]
    assert sorted(decoded) == first
