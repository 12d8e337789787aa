"""Makes preprocess_goldens.npz: what torchvision's published transform makes of synthetic photos.

Run with torch 2.13.0, torchvision 0.28.0 and Pillow 13.0.0: python make_preprocess_goldens.py. Stored are the 8-bit
pixels that are normalised; the script proves that nothing else of the transform's output is lost by that. Of the large
ones every third line and column is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Width and height of a photo; shorter side, crop and interpolation of the transform.
CASES: tuple[tuple[int, int, int, int, str], ...] = (
    (37, 53, 16, 14, "bilinear"),
    (61, 40, 16, 14, "bilinear"),
    (61, 40, 16, 14, "bicubic"),
    (40, 40, 16, 14, "bilinear"),
    (53, 41, 15, 14, "bilinear"),
    (41, 97, 15, 14, "bicubic"),
    (9, 7, 16, 14, "bilinear"),
    (7, 9, 16, 14, "bicubic"),
    (120, 7, 16, 14, "bilinear"),
    (7, 120, 16, 14, "bicubic"),
    (3, 200, 32, 32, "bilinear"),
    (1, 1, 16, 13, "bilinear"),
    (64, 65, 17, 17, "bilinear"),
    (131, 77, 43, 38, "bicubic"),
    (500, 375, 256, 224, "bilinear"),
    (375, 500, 232, 224, "bilinear"),
    (333, 500, 256, 224, "bicubic"),
    (150, 113, 292, 260, "bicubic"),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILE = Path(__file__).with_name("preprocess_goldens.npz")


def synthetic_photo(width: int, height: int) -> NDArray[np.uint8]:
    """Slopes, edges and fine stripes in whole numbers, uint8 (height, width, 3): the same on every machine."""
    y, x = np.mgrid[:height, :width]
    slopes = np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + 2 * y) % 256], axis=-1)
    edges = ((x // 11 + y // 7) % 3 * 60)[..., np.newaxis]
    stripes = ((x * y) % 2 * 90)[..., np.newaxis]
    return ((slopes + edges + stripes * (y > height // 2)[..., np.newaxis]) % 256).astype(np.uint8)


def key(case: tuple[int, int, int, int, str]) -> str:
    """The name of a case in the file."""
    return "-".join(map(str, case))


def thinned(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is stored of an output."""
    step = 3 if len(pixels) > 100 else 1
    return pixels[::step, ::step]


def main() -> None:
    """Run the transforms and write the file."""
    import sys
    import types

    sys.modules["torchvision._meta_registrations"] = types.ModuleType("empty")  # it wants a matching torch
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    found = {}
    for case in CASES:
        width, height, resize, crop, interpolation = case
        method = InterpolationMode(interpolation)
        transform = ImageClassification(crop_size=crop, resize_size=resize, interpolation=method)
        output = transform(Image.fromarray(synthetic_photo(width, height))).numpy().transpose(1, 2, 0)
        mean, std = np.float32(MEAN), np.float32(STD)
        pixels = np.rint((output * std + mean) * 255).astype(np.uint8)
        again = (pixels.astype(np.float32) / 255 - mean) / std
        if np.abs(again - output).max() > 1e-6:
            raise SystemExit(f"{case}: the transform's output is no normalised image of 8 bits")
        found[key(case)] = thinned(pixels)
    np.savez_compressed(FILE, **found)


if __name__ == "__main__":
    main()
