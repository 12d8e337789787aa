"""A folder of JPEG photos to train on: smooth coloured noise with a pattern a class, of 20 to 30 kB each like photos.

This file needs nothing but NumPy and Pillow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10
SIDE = 256


def write_photos(folder: Path, count: int) -> None:
    """Write `count` photos of 256×256 pixels, one sub-folder a class, the same each time."""
    random = np.random.default_rng(0)
    for index in range(count):
        kind = index % CLASSES
        coarse = random.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = np.asarray(smooth, np.int16) + random.normal(0, 12, (SIDE, SIDE, 3)).astype(np.int16)
        pixels[:, :, kind % 3] += np.int16(40 * np.sin(np.arange(SIDE) / (2 + kind)))[np.newaxis]
        path = folder / f"{kind}" / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
