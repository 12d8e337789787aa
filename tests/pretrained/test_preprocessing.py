"""Our preprocessing gives the pixels of torchvision's published transform, for every entry of the manifest.

Two proofs that meet: outputs of torchvision itself are stored, for small and large photos of odd sizes, and agree with
ours and with torchvision's two steps written down here with Pillow; those two steps agree with ours for every entry.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.manifest import entries
from edge_sdk.spec import Array

FILES = Path(__file__).parent / "files"


def load_script() -> ModuleType:
    """The script that made the goldens, for its photos and cases."""
    spec = importlib.util.spec_from_file_location("make_preprocess_goldens", FILES / "make_preprocess_goldens.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
# Portrait and landscape, smaller than the crop, a line, extreme aspects, a large photo.
SIZES = [(375, 500), (640, 427), (199, 100), (30, 41), (7, 300), (901, 57), (256, 256), (1, 1)]


@functools.cache
def photo_of(width: int, height: int) -> Image.Image:
    """A photo of this size."""
    return Image.fromarray(SCRIPT.synthetic_photo(width, height))


@functools.cache
def published_pixels(width: int, height: int, resize: int | tuple[int, int], crop: int, interpolation: str) -> Array:
    """Torchvision's Resize and CenterCrop of a Pillow image (functional.py, of version 0.28), in their own words."""
    photo = photo_of(width, height)
    if isinstance(resize, int):
        short, long = (width, height) if width <= height else (height, width)
        new_short, new_long = resize, int(resize * long / short)
        width, height = (new_short, new_long) if width <= height else (new_long, new_short)
    else:
        height, width = resize
    photo = photo.resize((width, height), Image.Resampling[interpolation.upper()])
    crop_top = int(round((height - crop) / 2.0))  # noqa: RUF046 - as it is written there
    crop_left = int(round((width - crop) / 2.0))  # noqa: RUF046
    return np.asarray(photo.crop((crop_left, crop_top, crop_left + crop, crop_top + crop)))


@pytest.mark.parametrize("case", SCRIPT.CASES, ids=SCRIPT.key)
def test_the_pixels_are_torchvisions(case):
    """Exactly, beside the outputs that torchvision itself made, and so are the two steps as they are written here."""
    width, height, resize, crop, interpolation = case
    photo = photo_of(width, height)
    with np.load(FILES / "preprocess_goldens.npz") as goldens:
        golden = goldens[SCRIPT.key(case)]

    ours = Preprocess((crop, crop), resize, interpolation=interpolation).crop(photo)

    np.testing.assert_array_equal(SCRIPT.thinned(published_pixels(width, height, resize, crop, interpolation)), golden)
    np.testing.assert_array_equal(SCRIPT.thinned(ours), golden)


@pytest.mark.parametrize("name", sorted(entries()))
def test_every_entry_feeds_the_published_pixels(name):
    """Within 1/255 everywhere before the normalisation, which is then that of the published mean and deviation."""
    rule = entries()[name].preprocess
    mean, std = np.float32(rule.mean) / 255, np.float32(rule.std) / 255

    for width, height in SIZES:
        photo = photo_of(width, height)
        pixels = published_pixels(
            width, height, rule.resize or rule.stretch, rule.size[0], rule.interpolation
        ) / np.float32(255)
        ours = rule(photo) * std + mean
        shown = ours[..., ::-1] if rule.channels == "bgr" else ours

        assert np.abs(shown - pixels).max() < 1e-5, (width, height)
        ordered = pixels[..., ::-1] if rule.channels == "bgr" else pixels
        np.testing.assert_allclose(rule(photo), (ordered - mean) / std, atol=2e-6 / std.min(), rtol=1e-5)
