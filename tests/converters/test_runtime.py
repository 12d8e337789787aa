"""Running files in the mobile runtime: inputs, batches, predictions, and files that cannot be run."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite import runtime
from edge_sdk.converters.tflite.metadata import About
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import FormatError, MissingExtraError, ShapeError, UsageError
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.quantization import Dequantize
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import BATCH, QuantParams, Spec
from edge_sdk.workspace import Workspace

RULE = Preprocess((4, 5), mean=(10.0, 20.0, 30.0), std=(50.0, 60.0, 70.0))
LABELS = ("red", "green", "blue")


def colour_classifier(batch: int = BATCH, about: About | None = About("colours", RULE, LABELS)) -> bytes:  # noqa: B008 - frozen
    """A file whose scores are ten times the mean of each channel."""
    g = Builder("colours")
    image = g.input("image", Spec((batch, 4, 5, 3)))
    weight = g.param("weight", Spec((3, 3)))
    logits = g.add(Linear(), g.add(GlobalAvgPool(), image), weight, name="logits")
    return write(g.build(logits), Workspace({"weight": np.eye(3, dtype=np.float32) * 10}), about=about).data


def pixel_file() -> bytes:
    """A file that takes uint8 pixels and gives them back as floats, (pixel - 20) / 2."""
    g = Builder("pixels")
    image = g.input("image", Spec((BATCH, 4, 5, 3), "uint8", QuantParams((0.5,), (20,))))
    graph = g.build(g.add(Dequantize(0.5, 20), image, name="logits"))
    return write(graph, Workspace(), about=About("pixels", RULE, LABELS)).data


def test_scores_of_any_number_of_images():
    """An open batch is resized to what is given, back and forth, down to none."""
    model = TFLiteModel(colour_classifier())
    x = np.random.default_rng(0).standard_normal((5, 4, 5, 3)).astype(np.float32)

    for n in (5, 1, 3, 0, 5):
        np.testing.assert_allclose(model.run(x[:n]), x[:n].mean(axis=(1, 2)) * 10, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_a_file_of_a_fixed_batch_takes_any_number_too(n):
    """The images are cut into pieces, and the last piece is filled up."""
    model = TFLiteModel(colour_classifier(batch=2))
    x = np.random.default_rng(0).standard_normal((n, 4, 5, 3)).astype(np.float32)

    np.testing.assert_allclose(model.run(x), x.mean(axis=(1, 2)) * 10, rtol=1e-4, atol=1e-5)


def test_a_photo_is_classified_by_the_files_own_rule_and_labels():
    """Preprocessing and labels travel in the file."""
    model = TFLiteModel(colour_classifier())
    green = np.zeros((9, 9, 3), np.uint8)
    green[..., 1] = 255

    best, second = model.predict(green, top=2)

    assert (model.labels, model.preprocess) == (LABELS, RULE)
    assert best[0] == "green"
    assert best[1] > second[1]
    assert [ranking[0][0] for ranking in model.predict([green, green], top=1)] == ["green", "green"]


def test_pixels_and_normalised_pixels_are_the_same_to_a_file_of_pixels():
    """Every pixel value survives normalisation and its inversion exactly."""
    model = TFLiteModel(pixel_file())
    pixels = np.arange(300, dtype=np.int64).reshape(5, 4, 5, 3).astype(np.uint8)
    pixels = np.concatenate([pixels, 255 - pixels])

    direct, normalised = model.run(pixels), model.run(RULE.normalise(pixels))

    np.testing.assert_array_equal(direct, (pixels.astype(np.float32) - 20) * 0.5)
    np.testing.assert_array_equal(normalised, direct)


def test_a_file_without_metadata_has_numbers_for_labels():
    """A file of another maker still runs, on raw pixels as far as anyone knows."""
    model = TFLiteModel(colour_classifier(about=None))

    assert model.labels == ("0", "1", "2")
    assert (model.preprocess.size, model.preprocess.mean, model.preprocess.std) == ((4, 5), (0.0,) * 3, (1.0,) * 3)


def test_latency_is_one_number_a_run():
    """As many as asked for, without the warm-up."""
    seconds = TFLiteModel(colour_classifier(), threads=1).latency(runs=4, warmup=1)

    assert len(seconds) == 4
    assert min(seconds) > 0


@pytest.mark.parametrize("x", [np.zeros((1, 4, 4, 3), np.float32), np.zeros((4, 5, 3), np.float32)])
def test_images_of_another_size_are_refused(x):
    """The message has both shapes."""
    with pytest.raises(ShapeError, match=r"run takes .*\[-1, 4, 5, 3\], got"):
        TFLiteModel(colour_classifier()).run(x)


def test_pixels_for_a_file_of_floats_are_refused():
    """They have to be normalised first."""
    with pytest.raises(ShapeError, match="preprocess"):
        TFLiteModel(colour_classifier()).run(np.zeros((1, 4, 5, 3), np.uint8))


def test_wrong_arguments_are_refused():
    """Threads and runs are counted from one."""
    with pytest.raises(UsageError, match="threads"):
        TFLiteModel(colour_classifier(), threads=0)
    with pytest.raises(UsageError, match="latency"):
        TFLiteModel(colour_classifier()).latency(runs=0)


def test_a_missing_file_is_named(tmp_path):
    """The message has the path."""
    with pytest.raises(FormatError, match=r"nowhere\.tflite"):
        TFLiteModel.open(tmp_path / "nowhere.tflite")


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 64, b"PK\x03\x04" * 20])
def test_what_is_no_tflite_file_is_refused(tmp_path, data):
    """Before the runtime sees it."""
    path = tmp_path / "model.tflite"
    path.write_bytes(data)

    with pytest.raises(FormatError, match=r"model\.tflite"):
        TFLiteModel.open(path)


def test_an_operator_that_the_runtime_lacks_is_the_runtimes_error():
    """What the runtime says is handed on, with the name of the file."""
    data = colour_classifier(about=None)
    position = data.index(b"\x09\x00\x00\x00", 100)  # FULLY_CONNECTED among the operator codes
    found = []
    for place in range(100, len(data) - 3):
        if data[place] == 9:
            damaged = bytearray(data)
            damaged[place] = 120
            try:
                TFLiteModel(bytes(damaged), "odd.tflite")
            except FormatError as error:
                found.append(str(error))

    assert position > 0
    assert any("the runtime cannot run it" in message and message.startswith("odd.tflite") for message in found)


def test_without_any_runtime_the_error_says_what_to_install(monkeypatch):
    """Both packages are tried, and the message names the way out."""
    for package in runtime.RUNTIMES:
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)

    with pytest.raises(MissingExtraError, match="pip install ai-edge-litert"):
        TFLiteModel(colour_classifier())
