"""The geometry and the numbers of preprocessing against the rules' own definitions."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_sdk import preprocess
from edge_sdk.errors import DataError, FormatError, ShapeError, UsageError
from edge_sdk.preprocess import Preprocess

RULE = Preprocess(size=(24, 24), resize=32, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("width", "height", "scaled", "corner"),
    [
        (64, 64, (32, 32), (4, 4)),
        (128, 64, (64, 32), (20, 4)),
        (301, 517, (32, 54), (4, 15)),
        (517, 301, (54, 32), (15, 4)),
        (97, 96, (32, 32), (4, 4)),
        (100, 107, (32, 34), (4, 5)),
        (100, 110, (32, 35), (4, 6)),
        (7, 11, (32, 50), (4, 13)),
        (100, 103, (32, 32), (4, 4)),
        (20, 900, (32, 1440), (4, 708)),
        (96, 99, (32, 33), (4, 4)),
    ],
)
def test_shorter_side_then_centre_crop(interpolation, width, height, scaled, corner, scene):
    """The photo is scaled to whole pixels, the longer side cut, and its centre is taken, halves to the even pixel."""
    photo = scene(width, height)
    whole = photo.resize(scaled, Image.Resampling[interpolation.upper()])
    left, top = corner
    expected = np.asarray(whole.crop((left, top, left + 24, top + 24)))

    cropped = dataclasses.replace(RULE, interpolation=interpolation).crop(photo)

    np.testing.assert_array_equal(cropped, expected)


def test_a_stretched_photo_gives_its_centre(scene):
    """Caffe's rule: whatever its aspect, the photo is stretched to a size of which the centre is kept."""
    rule = Preprocess(size=(9, 9), stretch=(14, 12))
    whole = scene(50, 70).resize((12, 14), Image.Resampling.BILINEAR)

    cropped = rule.crop(scene(50, 70))

    np.testing.assert_array_equal(cropped, np.asarray(whole.crop((2, 2, 11, 11))))
    assert rule.with_size((18, 27)) == Preprocess(size=(18, 27), stretch=(28, 36))


@pytest.mark.parametrize("shape", [(2, 1100), (1100, 2)])
def test_of_a_very_long_photo_only_the_centre_is_scaled(shape, monkeypatch, scene):
    """The region that would be kept is resampled instead: the same picture, but for rounding."""
    photo = scene(*shape)
    whole = RULE.crop(photo).astype(int)
    monkeypatch.setattr(preprocess, "MOST_SCALED", 1 << 16)

    cropped = RULE.crop(photo)

    assert np.abs(cropped - whole).max() <= 2


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
    """The box never leaves the photo and has the aspect of the input, but for the rounding of the longer side."""
    left, top, right, bottom = Preprocess(size=(rows, columns), resize=resize).crop_box(width, height)

    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if resize is not None:
        assert (right - left) * rows == pytest.approx((bottom - top) * columns, rel=1 / resize)


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
    grey = Preprocess(size=(3, 4), channels="grey", mean=(0.5,), std=(1,), interpolation="bicubic")

    for rule in (RULE, grey, Preprocess(size=(3, 4), stretch=(5, 4))):
        assert Preprocess.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


def test_only_a_stretched_crop_is_written_as_one():
    """Files with the other rules are read by programs from before there was `stretch`, and theirs are read here."""
    assert "stretch" not in RULE.to_dict()
    assert Preprocess.from_dict({**RULE.to_dict(), "stretch": None}) == RULE


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
        ({"stretch": [32, 32]}, "give one"),
        ({"resize": None, "stretch": [23, 32]}, "stretch .* from size"),
        ({"resize": None, "stretch": [24, 9000]}, "stretch .* to 8192"),
        ({"resize": None, "stretch": [32]}, "stretch"),
        ({"resize": None, "stretch": 32}, "stretch must be a list"),
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
