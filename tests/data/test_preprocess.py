"""The geometry and the numbers of preprocessing against the rules' own definitions."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_sdk.errors import DataError, FormatError, ShapeError, UsageError
from edge_sdk.preprocess import Preprocess

RULE = Preprocess(size=(24, 24), resize=32, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 64), (64, 96)])
def test_shorter_side_then_centre_crop(interpolation, width, height, scene):
    """Where nothing has to be rounded, the result is that of resizing the whole photo and cutting out its centre."""
    photo = scene(width, height)
    whole = photo.resize((width // 2, height // 2), Image.Resampling[interpolation.upper()])
    left, top = (width // 2 - 24) // 2, (height // 2 - 24) // 2
    expected = np.asarray(whole.crop((left, top, left + 24, top + 24)))

    cropped = dataclasses.replace(RULE, interpolation=interpolation).crop(photo)

    # Pillow rounds to 8 bits after its horizontal pass, so the two ways may differ in the last bit.
    assert np.abs(cropped.astype(int) - expected).max() <= 1


def test_odd_sizes_stay_within_a_level_of_the_rounded_rule(scene):
    """A photo whose scaled sides are not whole numbers differs only by the part of a pixel that rounding moves it."""
    photo = scene(301, 517)
    whole = photo.resize((32, 55), Image.Resampling.BILINEAR)
    expected = np.asarray(whole.crop((4, 15, 28, 39)), np.float32)

    cropped = RULE.crop(photo).astype(np.float32)

    assert np.abs(cropped - expected).mean() < 3


def test_efficientnet_fraction_is_the_same_rule():
    """The rule `resize = size + 32` keeps the central square of min(h, w) x size / (size + 32)."""
    rule = Preprocess(size=(224, 224), resize=256)

    left, top, right, bottom = rule.crop_box(640, 512)

    assert (right - left, bottom - top) == (512 * 224 / 256, 512 * 224 / 256)
    assert (left + right, top + bottom) == (640, 512)


def test_stretch_uses_the_whole_photo(scene):
    """Without `resize` the photo is resized as it is."""
    photo = scene(50, 70)
    expected = np.asarray(photo.resize((20, 10), Image.Resampling.BILINEAR))

    np.testing.assert_array_equal(Preprocess(size=(10, 20)).crop(photo), expected)


@given(
    st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 64), st.integers(1, 64), st.none() | st.integers(64, 99)
)
def test_box_lies_inside_any_photo(width, height, rows, columns, resize):
    """The box never leaves the photo and has the aspect of the input unless stretched."""
    left, top, right, bottom = Preprocess(size=(rows, columns), resize=resize).crop_box(width, height)

    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if resize is not None:
        assert (right - left) * rows == pytest.approx((bottom - top) * columns, rel=1e-9)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1), (2, 3)])
def test_extreme_photos_have_a_crop(width, height):
    """A photo of one pixel, or of one line, gives an input of the right size."""
    assert RULE.crop(Image.new("RGB", (width, height), "red")).tolist() == np.full((24, 24, 3), [255, 0, 0]).tolist()


def test_normalise_by_hand():
    """(x - mean) / std per channel, in the order of `channels`."""
    rule = Preprocess(size=(1, 2), mean=(100.0, 10.0, 1.0), std=(2.0, 4.0, 8.0))
    pixels = np.array([[[110, 30, 9], [0, 10, 255]]], np.uint8)

    np.testing.assert_array_equal(rule.normalise(pixels), np.float32([[[5, 5, 1], [-50, 0, 31.75]]]))
    # Caffe's order: the mean of blue stands first.
    bgr = dataclasses.replace(rule, channels="bgr")
    np.testing.assert_array_equal(bgr.normalise(pixels), np.float32([[[-45.5, 5, 13.625], [77.5, 0, -0.125]]]))


def test_grey_input_has_one_channel(scene):
    """Grey is the luma of ITU-R 601-2, in one channel."""
    rule = Preprocess(size=(4, 4), channels="grey", mean=(0.0,), std=(1.0,))

    values = rule(Image.new("RGB", (9, 9), (200, 100, 50)))

    assert values.shape == (4, 4, 1)
    assert np.unique(values).tolist() == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]


def test_normalise_writes_into_out_and_takes_a_batch():
    """A batch in one call equals its photos one by one, in the memory that was given."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3)).astype(np.uint8)
    out = np.empty(pixels.shape, np.float32)

    result = RULE.normalise(pixels, out=out)

    assert result is out
    np.testing.assert_array_equal(out[1], (pixels[1].astype(np.float32) - 127) / 128)


def test_path_image_and_array_are_the_same_photo(tmp_path, scene):
    """However a photo is handed over, the input is the same."""
    photo = scene(70, 50)
    photo.save(tmp_path / "photo.png")

    expected = RULE(photo)

    assert expected.dtype == np.float32
    for other in (tmp_path / "photo.png", str(tmp_path / "photo.png"), np.asarray(photo)):
        np.testing.assert_array_equal(RULE(other), expected)


def test_crop_is_writable_and_owned(scene):
    """A caller may change the pixels without touching the photo."""
    photo = scene(24, 24)
    before = photo.tobytes()

    Preprocess(size=(24, 24)).crop(photo)[:] = 0

    assert photo.tobytes() == before


@pytest.mark.parametrize(
    ("pixels", "out"),
    [
        (np.zeros((2, 2, 3), np.float32), None),
        (np.zeros((2, 2, 4), np.uint8), None),
        (np.zeros((2, 2), np.uint8), None),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.float64)),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2, 3), np.float32)),
    ],
)
def test_normalise_refuses_other_arrays(pixels, out):
    """Wrong shapes and dtypes are named."""
    with pytest.raises(ShapeError, match="preprocess: "):
        RULE.normalise(pixels, out)


def test_photo_that_cannot_be_read_is_named(tmp_path):
    """The path stands in the message."""
    with pytest.raises(DataError, match=r"gone\.jpg"):
        RULE(tmp_path / "gone.jpg")


def test_with_size_keeps_the_proportion():
    """The share of the photo that is seen stays; a stretch stays a stretch."""
    rule = Preprocess(size=(224, 224), resize=256).with_size(112)

    assert (rule.size, rule.resize) == ((112, 112), 128)
    assert Preprocess(size=(8, 8)).with_size((4, 6)).size == (4, 6)
    assert RULE.with_size((24, 24)) == RULE
    with pytest.raises(UsageError, match="size must be"):
        RULE.with_size(0)


def test_dictionary_round_trip_through_json():
    """What is written into a model file is read back equal."""
    for rule in (RULE, Preprocess(size=(3, 4), channels="grey", mean=(0.5,), std=(1,), interpolation="bicubic")):
        assert Preprocess.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [0, 24]}, "size must be"),
        ({"size": [24, 100_000]}, "to 8192"),
        ({"size": [24.0, 24]}, "size must be"),
        ({"size": [True, 24]}, "size must be"),
        ({"size": "24"}, "size must be a list"),
        ({"size": {"h": 1}}, "size must be a list"),
        ({"resize": 23}, "from 24"),
        ({"resize": "32"}, "resize"),
        ({"interpolation": "bilinar"}, "did you mean 'bilinear'"),
        ({"interpolation": ["bilinear"]}, "interpolation must be one of"),
        ({"channels": "rbg"}, "did you mean 'bgr'|did you mean 'rgb'"),
        ({"channels": "grey"}, "mean must be 1 finite"),
        ({"mean": [0, 0]}, "mean must be 3"),
        ({"mean": [0, 0, "0"]}, "mean must be 3"),
        ({"mean": [0, 0, float("nan")]}, "mean must be 3 finite"),
        ({"mean": [0, 0, 10**400]}, "mean must be 3 finite"),
        ({"std": [1, 0, 1]}, "std must be positive"),
        ({"std": [1, 1e-300, 1]}, "std must be positive"),
        ({"std": [1, 1, float("inf")]}, "std must be 3 finite"),
        ({"std": None}, "std must be a list"),
        ({"meen": [0]}, "unknown entry 'meen'; did you mean 'mean'"),
    ],
)
def test_wrong_dictionary_is_refused(change, message):
    """Every entry is checked, and the message names it."""
    with pytest.raises(FormatError, match=message):
        Preprocess.from_dict({**RULE.to_dict(), **change})


def test_missing_entry_and_wrong_type_are_refused():
    """An entry that is left out is named; a list is no dictionary."""
    values = RULE.to_dict()
    del values["std"]

    with pytest.raises(FormatError, match="'std' is missing"):
        Preprocess.from_dict(values)
    with pytest.raises(FormatError, match="found list"):
        Preprocess.from_dict([1])
