"""quantize(): a model on 8-bit numbers that runs here as its file does elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

import edge_sdk as edge
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.errors import ShapeError
from edge_sdk.model import Model
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.spec import Array

PIXELS = np.random.default_rng(0).integers(0, 256, (10, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network."""
    return tiny_model()


@pytest.fixture(scope="module")
def quantized(model) -> QuantizedModel:
    """Its 8-bit form."""
    return edge.quantize(model, PIXELS)


def preprocessed(model: Model) -> Array:
    """The photos as the float network takes them."""
    return np.stack([model.preprocess(pixels) for pixels in PIXELS])


@pytest.mark.parametrize("output_type", ["float32", "uint8"])
@pytest.mark.parametrize("mean", [127.0, (123.7, 116.3, 103.5)], ids=["one-mean", "a-mean-a-channel"])
def test_it_computes_what_the_exported_file_does(model, mean, output_type, tmp_path):
    """The same calibration photos give the same logits, bit for bit, in Session and runtime."""
    means = mean if isinstance(mean, tuple) else (mean,) * 3
    changed = model.replace(preprocess=dataclasses.replace(model.preprocess, mean=means))
    path = tmp_path / "model.tflite"
    edge.export(changed, path, quantize="int8", calibrate=PIXELS, output_type=output_type)

    found = edge.quantize(changed, PIXELS, output_type=output_type).run(PIXELS)

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, TFLiteModel.open(path).run(PIXELS))


def test_it_is_close_to_the_float_model(model, quantized):
    """8 bits are enough for this network's logits."""
    wanted = model.run(preprocessed(model))

    found = quantized.run(PIXELS)

    assert np.abs(found - wanted).max() < 0.08 * np.ptp(wanted)


def test_pixels_and_preprocessed_photos_give_the_same(model, quantized):
    """The normalisation is undone exactly."""
    found = quantized.run(preprocessed(model))

    np.testing.assert_array_equal(found, quantized.run(PIXELS))


def test_a_float_input_is_quantized_by_the_graph(model):
    """With input_type float32 the graph starts from preprocessed photos, and refuses pixels."""
    quantized = edge.quantize(model, PIXELS, input_type="float32")

    found = quantized.run(preprocessed(model))

    wanted = model.run(preprocessed(model))
    assert np.abs(found - wanted).max() < 0.08 * np.ptp(wanted)
    with pytest.raises(ShapeError, match="preprocess"):
        quantized.run(PIXELS)


def test_predict_ranks_labels(model, quantized):
    """Probabilities of all labels, best first, for one photo and for several."""
    ranking = quantized.predict(PIXELS[0], top=3)

    assert {label for label, _ in ranking} == set(model.labels)
    assert sum(probability for _, probability in ranking) == pytest.approx(1)
    assert quantized.predict([PIXELS[0]], top=3) == [ranking]


def test_no_photo_gives_no_logits_and_a_wrong_size_is_refused(quantized):
    """Edges of run."""
    none = quantized.run(PIXELS[:0])

    assert none.shape == (0, 3)
    with pytest.raises(ShapeError, match="16"):
        quantized.run(PIXELS[:, :8])
