"""Every network of the zoo in every precision: written, run in the mobile runtime, and looked into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.tflite import read, read_quantized
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.model import Model
from edge_sdk.spec import Array

SIDES = {"alexnet": 96, "efficientnet_lite0": 64, "mobilenetv2": 64, "resnet18": 64, "resnet50": 64, "vgg16": 32}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "vgg16")]
WEIGHT_BYTES = {"none": 4, "fp16": 2, "dynamic": 1, "int8": 1}
# A random network is no classifier: the rounding of 8 bits moves its logits more than those of a trained one, whose
# bounds are in test_real_weights.
TOLERANCE = {"none": 1e-4, "fp16": 5e-3, "dynamic": 0.2, "int8": 0.4}
# Of float models read back from the files: those of int8 weights leave out the rounding of activations.
READ_TOLERANCE = {"none": 1e-4, "fp16": 1e-4, "dynamic": 0.2, "int8": 0.4}

networks = pytest.mark.parametrize(
    "model",
    [pytest.param("alexnet", marks=pytest.mark.long), "efficientnet_lite0", "mobilenetv2", "resnet18", *SLOW],
    indirect=True,
)


@pytest.fixture(scope="module")
def model(request) -> Model:
    """A network with random weights, small images and few classes."""
    return pretrained.load(request.param, weights=None, num_classes=10, image_size=SIDES[request.param])


@pytest.fixture(scope="module")
def photos() -> Array:
    """Squares of 128 pixels from real photos, uint8 (n, h, w, 3)."""
    scenes = (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut())
    corners = [(0, 0), (0, 150), (150, 0), (150, 150)]
    return np.stack([scene[top : top + 128, left : left + 128] for scene in scenes for top, left in corners])


@pytest.mark.parametrize("quantize", ["none", "fp16", "dynamic", "int8"])
@networks
def test_the_file_is_proven_in_the_runtime(model, quantize, photos, tmp_path):
    """float32 within 1e-4 of the largest logit, the others near; builtin operators only, and none that transposes."""
    path = tmp_path / "model.tflite"

    report = edge.export(model, path, quantize=quantize, calibrate=photos)

    assert report.photos == len(photos)
    assert report.relative_difference <= TOLERANCE[quantize]
    assert set(report.operators) <= set(Builtin.__members__)
    assert "TRANSPOSE" not in report.operators
    assert report.float_tensors == ()
    weights = WEIGHT_BYTES[quantize] * sum(array.size for array in model.inference[1].values())
    assert 0.95 * weights < path.stat().st_size < 1.1 * weights + 300_000  # equal biases are stored once
    _check_file(path, model, quantize, photos)
    _check_read_back(path, model, quantize, photos)
    path.unlink()  # up to 540 MB


def _check_file(path: Path, model: Model, quantize: str, photos: Array) -> None:
    """Open the file afresh, as a phone would: types, labels, and any number of photos at a time."""
    file = TFLiteModel.open(path)
    assert file.inputs[0].dtype == ("uint8" if quantize == "int8" else "float32")
    assert (file.labels, file.preprocess) == (model.labels, model.preprocess)
    one, four = (file.run(np.stack([file.preprocess(p) for p in photos[:count]])) for count in (1, 4))
    assert (one.shape, four.shape) == ((1, 10), (4, 10))
    np.testing.assert_allclose(four[:1], one, atol=1e-5 * np.abs(four).max())


def _check_read_back(path: Path, model: Model, quantize: str, photos: Array) -> None:
    """The file as a Model again: logits of the runtime, bit for bit from the 8-bit file as an 8-bit model."""
    file, back = TFLiteModel.open(path), read(path)
    wanted = file.run(np.stack([file.preprocess(photo) for photo in photos]))
    found = back.run(np.stack([back.preprocess(photo) for photo in photos]))
    assert (back.labels, back.name) == (model.labels, model.name)
    assert np.abs(found - wanted).max() <= READ_TOLERANCE[quantize] * np.abs(wanted).max()
    if quantize == "int8":
        stored = read_quantized(path)
        np.testing.assert_array_equal(stored.run(np.stack([stored.preprocess(photo) for photo in photos])), wanted)
