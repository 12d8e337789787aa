"""What files take and give: embedded preprocessing, resizing inside, red first, probabilities; equal bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.converters.tflite.edges import red_first
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.errors import UsageError
from edge_sdk.preprocess import Preprocess

PHOTO = skimage.data.astronaut()[:96, 100:228]
RULE = Preprocess((16, 16), resize=20, mean=(120.0, 115.0, 100.0), std=(58.0, 57.0, 56.0))
MODEL = tiny_model().replace(preprocess=RULE)
PARTS = np.stack([PHOTO[8 * i : 8 * i + 24, 12 * i : 12 * i + 30] for i in range(8)])
"""Like the photos that the 8-bit files are asked about."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of three colours, a folder a class."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


def interpreted(path, x):
    """The first output of a file for an input of its own type, from the bare interpreter."""
    file = TFLiteModel.open(path)
    return file.invoke({file.inputs[0].name: x})[file.outputs[0].name]


@pytest.mark.parametrize("input_type", ["float32", "uint8"])
def test_a_float_file_normalises_pixels_as_training_did(photos, tmp_path, input_type):
    """Raw pixels give the scores of the model on the normalised photo."""
    path = tmp_path / "m.tflite"
    report = edge.export(MODEL, path, check=photos, embed_preprocessing=True, input_type=input_type)

    found = interpreted(path, RULE.crop(_image(PHOTO))[np.newaxis].astype(input_type))

    wanted = MODEL.run(RULE(PHOTO)[np.newaxis])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert (report.takes, report.embedded) == ("pixels", "normalisation")
    assert report.agreement == 1.0


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_file_that_resizes_photos_itself_follows_the_rule(photos, tmp_path, quantize):
    """The shorter side to 20, then the middle 16 × 16, as plain bilinear interpolation at pixel centres gives them."""
    path = tmp_path / "m.tflite"
    calibrate = PARTS if quantize == "int8" else None
    edge.export(MODEL, path, quantize, calibrate, photos, "uint8", embed_preprocessing=True, input_size=(24, 30))
    small = np.ascontiguousarray(PHOTO[:24, :30])

    found = interpreted(path, small[np.newaxis])

    columns = int(20 * 30 / 24)
    rows_at = (np.arange(20) + 0.5) * 24 / 20 - 0.5
    columns_at = (np.arange(columns) + 0.5) * 30 / columns - 0.5
    left = round((columns - 16) / 2)
    resized = _bilinear(small.astype(np.float64), rows_at, columns_at)[2:18, left : left + 16]
    wanted = MODEL.run(((resized - RULE.mean) / RULE.std).astype(np.float32)[np.newaxis])
    scale = float(np.abs(wanted).max())
    assert np.abs(found - wanted).max() <= (1e-4 if quantize == "none" else 0.05) * scale
    assert TFLiteModel.open(path).preprocess == Preprocess((24, 30), mean=(0.0,) * 3, std=(1.0,) * 3)


def test_probabilities_are_the_softmax_of_the_logits(photos, tmp_path):
    """From floats, from int8 with a float output, and as uint8 in steps of 1/256; the metadata says what they are."""
    photo = PARTS[3]
    expected = MODEL.run(RULE(photo)[np.newaxis])
    wanted = np.exp(expected) / np.exp(expected).sum()
    pixels = RULE.crop(_image(photo))[np.newaxis]

    edge.export(MODEL, tmp_path / "a.tflite", check=photos, output="probabilities")
    edge.export(MODEL, tmp_path / "b.tflite", "int8", PARTS, output="probabilities")
    edge.export(MODEL, tmp_path / "c.tflite", "int8", PARTS, output="probabilities", output_type="uint8")

    np.testing.assert_allclose(interpreted(tmp_path / "a.tflite", RULE(photo)[np.newaxis]), wanted, atol=1e-6)
    np.testing.assert_allclose(interpreted(tmp_path / "b.tflite", pixels), wanted, atol=2e-3)
    np.testing.assert_allclose(interpreted(tmp_path / "c.tflite", pixels) / 256, wanted, atol=1.5 / 256)
    contract = json.loads((tmp_path / "c.tflite.json").read_bytes())["contract"]
    assert contract["output"] == {
        "name": "probabilities",
        "dtype": "uint8",
        "shape": [-1, 3],
        "quantization": {"scale": 1 / 256, "zero_point": 0},
        "values": "probabilities",
    }


def test_a_network_of_blue_first_photos_takes_them_red_first():
    """The weights of the first convolution are turned round; a network that reads the photo otherwise gets a swap."""
    rule = dataclasses.replace(RULE, channels="bgr")
    model = MODEL.replace(preprocess=rule)

    turned = red_first(model)

    assert (turned.preprocess.channels, turned.preprocess.mean) == ("rgb", (100.0, 115.0, 120.0))
    photo = PHOTO[np.newaxis, :16, :16]
    np.testing.assert_allclose(
        turned.run(turned.preprocess.normalise(photo)), model.run(rule.normalise(photo)), atol=1e-6
    )
    assert len(turned.graph.nodes) == len(model.graph.nodes)


def test_combinations_that_no_file_can_have_are_refused(photos, tmp_path):
    """Each with what to do instead."""
    path = tmp_path / "m.tflite"
    with pytest.raises(UsageError, match="--embed-preprocessing"):
        edge.export(MODEL, path, input_size=(24, 24))
    with pytest.raises(UsageError, match="takes uint8 pixels"):
        edge.export(MODEL, path, "int8", photos, input_type="float32", embed_preprocessing=True)
    with pytest.raises(UsageError, match="uint8 input"):
        edge.export(MODEL, path, input_type="uint8")
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        edge.export(MODEL, path, output="logit")
    with pytest.raises(UsageError, match="height, width"):
        edge.export(MODEL, path, embed_preprocessing=True, input_size=(0, 24))
    assert not path.exists()


def test_the_side_car_has_everything(photos, tmp_path):
    """Its hash is the file's; labels, contract, lineage and report are there."""
    path = tmp_path / "m.tflite"
    report = edge.export(MODEL, path, "int8", photos, photos)

    content = json.loads((tmp_path / "m.tflite.json").read_bytes())

    assert (content["schema"], content["version"]) == ("edge-sdk/exported-file", 1)
    assert content["file"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert content["labels"] == list(MODEL.labels)
    assert content["contract"]["input"]["dtype"] == "uint8"
    assert content["contract"]["input"]["photo"]["shorter_side"] == 20
    assert content["report"]["agreement"] == report.agreement
    MODEL.save(tmp_path / "m.edge")
    header = (tmp_path / "m.edge").read_bytes()
    assert content["lineage"]["model_sha256"].encode() in header


EXPORT = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny_models import tiny_model
import edge_sdk as edge
threads = int(sys.argv[4])
edge.set_threads(threads)
edge.export(tiny_model(), sys.argv[3], "int8", sys.argv[2], threads=threads, output="probabilities")
"""


def test_equal_exports_are_equal_bytes(photos, tmp_path):
    """In two processes, with one thread and with two."""
    tests = str(next(p for p in map(str, sys.path) if p.endswith("tests")))
    for threads in (1, 2):
        arguments = [tests, str(photos), str(tmp_path / f"{threads}.tflite"), str(threads)]
        subprocess.run([sys.executable, "-c", EXPORT, *arguments], check=True, capture_output=True)

    assert (tmp_path / "1.tflite").read_bytes() == (tmp_path / "2.tflite").read_bytes()


def _image(pixels):
    from PIL import Image

    return Image.fromarray(pixels)


def _bilinear(image, rows_at, columns_at):
    def mixed(x, at):
        at = np.clip(at, 0, len(x) - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, 1, 1)
        return x[low] * (1 - share) + x[np.minimum(low + 1, len(x) - 1)] * share

    return mixed(mixed(image, rows_at).transpose(1, 0, 2), columns_at).transpose(1, 0, 2)
