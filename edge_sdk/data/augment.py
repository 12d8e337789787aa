"""Random views of a photo for training, each a function of one random generator and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.preprocess import Preprocess


@dataclass(frozen=True)
class Augment:
    """Random resized crop, mirroring, and light.

    `area` is the range of the share of the photo's area that a random crop keeps, and `aspect` the range of its width
    / height (Szegedy et al. 2014, "Going deeper with convolutions", section 6); with `area` None the photo is cut as
    in evaluation. `horizontal_flip` and `vertical_flip` are the probabilities of mirroring left with right and top
    with bottom. `contrast` and `brightness` are how far a photo's contrast (about its mean) and then its brightness are
    multiplied: by 1 - x to 1 + x.
    """

    area: tuple[float, float] | None = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0

    def __post_init__(self) -> None:
        if self.area is not None and not 0 < self.area[0] <= self.area[1] <= 1:
            raise UsageError(f"augment: area must be a range of shares, 0 < low <= high <= 1; found {self.area}")
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise UsageError(f"augment: aspect must be a range of width / height, 0 < low <= high; found {self.aspect}")
        for field in ("horizontal_flip", "vertical_flip", "contrast", "brightness"):
            if not 0 <= getattr(self, field) <= 1:
                raise UsageError(f"augment: {field} must be from 0 to 1; found {getattr(self, field)}")

    @property
    def varies(self) -> bool:
        """Whether two views of a photo may differ."""
        crops = self.area is not None
        return crops or any((self.horizontal_flip, self.vertical_flip, self.contrast, self.brightness))

    @classmethod
    def named(cls, policy: str) -> Augment:
        """Return a policy by name: "off", "flip" (left with right), "crop" (random crop and flip) or "any-side-up".

        "any-side-up" also mirrors top with bottom and varies the light, for photos without an upright position and with
        lamps of their own, as from a microscope or above a conveyor belt.
        """
        if policy not in POLICIES:
            known = ", ".join(POLICIES)
            raise UsageError(f"augment: wanted one of {known}; found {policy!r}{suggestion(policy, POLICIES)}")
        return POLICIES[policy]

    def __call__(self, image: Image.Image, preprocess: Preprocess, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return uint8 (height, width, channels): a random view of an upright RGB image at the network's input size."""
        return self.vary(self.crop(image, preprocess, random), random)

    def crop(self, image: Image.Image, preprocess: Preprocess, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return uint8 (height, width, channels): a random crop, or the one of evaluation where `area` is None."""
        if self.area is None:
            return preprocess.crop(image)
        return preprocess.resample(image, self._crop_box(image.width, image.height, preprocess.size, random))

    def vary(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Return uint8 (height, width, channels), mirrored and lit at random; the result may be a view."""
        # All numbers are always drawn, so that one setting does not change what another one decides.
        mirror, turn_over, *light = random.random(4)
        if mirror < self.horizontal_flip:
            pixels = pixels[:, ::-1]
        if turn_over < self.vertical_flip:
            pixels = pixels[::-1]
        if not self.contrast and not self.brightness:
            return pixels
        contrast, brightness = 1 + (2 * light[0] - 1) * self.contrast, 1 + (2 * light[1] - 1) * self.brightness
        values = pixels.astype(np.float32)
        mean = values.mean()
        lit: NDArray[np.uint8] = np.clip((mean + (values - mean) * contrast) * brightness, 0, 255).astype(np.uint8)
        return lit

    def _crop_box(
        self, width: int, height: int, size: tuple[int, int], random: np.random.Generator
    ) -> tuple[float, float, float, float]:
        low, high = self.area or (1.0, 1.0)
        drawn_area, drawn_aspect, across, down = random.random(4)
        area = (low + (high - low) * drawn_area) * width * height
        # Relative to the input's aspect and uniform in its logarithm: twice as wide is as likely as half as wide.
        log_low, log_high = (math.log(limit) for limit in self.aspect)
        aspect = math.exp(log_low + (log_high - log_low) * drawn_aspect) * size[1] / size[0]
        box_width, box_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        # A box that is too long for the photo is shrunk with its aspect kept: no draw is thrown away.
        shrink = min(1.0, width / box_width, height / box_height)
        box_width, box_height = min(float(width), box_width * shrink), min(float(height), box_height * shrink)
        left, top = (width - box_width) * across, (height - box_height) * down
        return (left, top, min(float(width), left + box_width), min(float(height), top + box_height))


POLICIES: dict[str, Augment] = {
    "off": Augment(area=None, horizontal_flip=0.0),
    "flip": Augment(area=None),
    "crop": Augment(),
    "any-side-up": Augment(area=None, vertical_flip=0.5, contrast=0.3, brightness=0.3),
}


def random_generator(seed: int, *position: int) -> np.random.Generator:
    """Return the generator of one place, such as (seed, epoch, position): the same in every thread."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, *position))))
