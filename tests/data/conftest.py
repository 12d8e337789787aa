"""Real image files and folders of them, made with Pillow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _scene(width: int, height: int, shift: int = 0) -> Image.Image:
    """Smooth waves with a different corner each, so that turning or mirroring one shows."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    red = 127 + 100 * np.sin(5 * x + 2 * y + shift)
    green = 127 + 100 * np.cos(3 * y + shift)
    blue = 255 * x * y
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


@pytest.fixture
def scene() -> Callable[..., Image.Image]:
    return _scene


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[Mapping[str, int]], Path]:
    """Fill a folder with so many PNG photos in each sub-folder; every photo is a different one."""

    def make(counts: Mapping[str, int], size: tuple[int, int] = (40, 30)) -> Path:
        root = tmp_path / "photos"
        shift = 0
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                shift += 1
                _scene(*size, shift=shift).save(root / folder / f"{number:03}.png")
        return root

    return make
