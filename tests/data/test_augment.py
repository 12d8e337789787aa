"""Random views: within the stated ranges, at the stated rates, and the same for the same place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edge_sdk.data.augment import Augment, random_generator
from edge_sdk.errors import UsageError
from edge_sdk.preprocess import Preprocess

RULE = Preprocess(size=(16, 20), resize=24)


def _coordinates(width: int, height: int) -> Image.Image:
    """A photo whose red is the column and whose green is the row, in 255ths of its sides."""
    column = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    row = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([column, row, 0 * row], axis=-1).round().astype(np.uint8))


def test_off_is_the_view_of_evaluation(scene):
    """Without augmentation training sees what evaluation sees."""
    photo = scene(60, 50)

    np.testing.assert_array_equal(Augment.named("off")(photo, RULE, random_generator(0)), RULE.crop(photo))


@pytest.mark.parametrize(("policy", "views"), [("flip", 2), ("any-side-up", 4)])
def test_flips_are_mirror_images_at_half_rate(policy, views, scene):
    """All mirror images of the plain view come up, each about equally often, and nothing else does."""
    photo = scene(60, 50)
    augment = Augment(area=None, vertical_flip=Augment.named(policy).vertical_flip)
    plain = RULE.crop(photo)
    mirrored = [plain, plain[:, ::-1], plain[::-1], plain[::-1, ::-1]][:views]

    seen = [augment(photo, RULE, random_generator(0, 0, position)) for position in range(400)]

    counts = [sum(np.array_equal(view, expected) for view in seen) for expected in mirrored]
    assert sum(counts) == 400
    assert min(counts) > 400 / views * 0.7


def test_light_is_varied_within_its_ranges(scene):
    """Contrast about the mean, then brightness, both seen at their ends and never beyond, by the photo's statistics."""
    augment = Augment(area=None, horizontal_flip=0, contrast=0.2, brightness=0.1)
    plain = RULE.crop(scene(60, 50)).astype(float) * 0.5 + 64  # nothing is clipped
    pixels = plain.astype(np.uint8)

    seen = [augment.vary(pixels, random_generator(0, position)).astype(float) for position in range(300)]

    brightness = [view.mean() / pixels.mean() for view in seen]
    contrast = [view.std() / pixels.std() / factor for view, factor in zip(seen, brightness, strict=True)]
    assert 0.89 < min(brightness) < 0.91 < 1.09 < max(brightness) < 1.11
    assert 0.79 < min(contrast) < 0.82 < 1.18 < max(contrast) < 1.21


def test_any_side_up_shows_the_whole_photo():
    """What is looked for may stand at the edge, so nothing is cut off."""
    assert Augment.named("any-side-up").area is None


@pytest.mark.parametrize(("width", "height"), [(400, 400), (400, 150), (90, 400)])
def test_random_crops_stay_in_their_ranges(width, height):
    """The part of the photo that a crop shows has an area and an aspect from the stated ranges."""
    augment = Augment(area=(0.2, 0.5), aspect=(0.8, 1.25), horizontal_flip=0)
    photo = _coordinates(width, height)

    for position in range(60):
        view = augment(photo, RULE, random_generator(1, position)).astype(float)
        # The centres of the outermost input pixels lie half an input pixel inside the crop.
        across = (view[8, -1, 0] - view[8, 0, 0]) / 255 * 20 / 19 * width
        down = (view[-1, 10, 1] - view[0, 10, 1]) / 255 * 16 / 15 * height
        aspect = across / down / (20 / 16)
        assert 0.75 <= aspect <= 1.33
        assert across * down <= 0.55 * width * height
        if width == height:
            assert across * down >= 0.17 * width * height


def test_crops_reach_every_corner():
    """The place of the crop is uniform: the photo's borders come up on all sides."""
    augment = Augment(area=(0.1, 0.3), horizontal_flip=0)
    photo = _coordinates(300, 300)

    views = np.stack([augment(photo, RULE, random_generator(2, position)) for position in range(300)]).astype(float)

    centres = views.mean(axis=(1, 2))[:, :2]
    assert (centres.min(axis=0) < 70).all()
    assert (centres.max(axis=0) > 185).all()
    np.testing.assert_allclose(centres.mean(axis=0), 127.5, atol=8)


def test_same_place_same_view_other_place_other_view(scene):
    """A view is a function of (seed, epoch, position)."""
    photo = scene(60, 50)
    augment = Augment.named("crop")

    def view(*place: int) -> bytes:
        return augment(photo, RULE, random_generator(*place)).tobytes()

    assert view(0, 1, 2) == view(0, 1, 2)
    assert len({view(0, 1, 2), view(1, 1, 2), view(0, 2, 2), view(0, 1, 3)}) == 4


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 2000), (2000, 1)])
def test_extreme_photos_can_be_cropped(width, height):
    """A single line of pixels has random crops too."""
    for position in range(20):
        view = Augment()(Image.new("RGB", (width, height), "blue"), RULE, random_generator(position))
        assert np.unique(view.reshape(-1, 3), axis=0).tolist() == [[0, 0, 255]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"area": (0.0, 1.0)}, "area"),
        ({"area": (0.5, 0.4)}, "area"),
        ({"area": (0.5, 1.1)}, "area"),
        ({"aspect": (0.0, 1.0)}, "aspect"),
        ({"aspect": (2.0, 1.0)}, "aspect"),
        ({"horizontal_flip": 1.5}, "horizontal_flip"),
        ({"vertical_flip": -0.5}, "vertical_flip"),
    ],
)
def test_impossible_ranges_are_refused(arguments, message):
    """The message names the argument."""
    with pytest.raises(UsageError, match=f"augment: {message}"):
        Augment(**arguments)


def test_unknown_policy_gets_a_suggestion():
    """A typo is not corrected in silence."""
    with pytest.raises(UsageError, match="did you mean 'flip'"):
        Augment.named("flp")
