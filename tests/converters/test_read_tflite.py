"""Classifiers read back from .tflite files, in four precisions, with what the files say about photos and labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_networks import IMAGES, NETWORKS, NORMALISED, PIXELS, network
from tiny_models import LABELS, SIDE, tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.builder import Builder
from edge_sdk.converters.tflite import read, read_graph, read_quantized
from edge_sdk.converters.tflite.metadata import EDGE_ENTRY, TFLITE_ENTRY, About
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import FormatError
from edge_sdk.model import softmax
from edge_sdk.ops.activation import Softmax
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import calibrate
from edge_sdk.quantization.int8 import quantize_int8
from edge_sdk.session import Session
from edge_sdk.spec import Value

FILES = Path(__file__).parent / "files"
PHOTOS = np.random.default_rng(3).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
PRECISIONS = {"none": "float32", "fp16": "float16", "dynamic": "float32", "int8": "int8, full integer"}
TOLERANCE = {"none": 1e-5, "fp16": 1e-5, "dynamic": 1e-5, "int8": 0.1}
OF_A_CHANNEL = Preprocess((SIDE, SIDE), resize=20, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))


def exported(folder: Path, quantize: str = "none", rule: Preprocess | None = None) -> Path:
    """The tiny network's file in a precision."""
    path = folder / "tiny.tflite"
    model = tiny_model() if rule is None else tiny_model().replace(preprocess=rule)
    edge.export(model, path, quantize=quantize, calibrate=PHOTOS)
    return path


def without(path: Path, *entries: str) -> Path:
    """The same file, without some of what it says about itself."""
    data = path.read_bytes()
    for entry in entries:
        assert entry.encode() in data
        data = data.replace(entry.encode(), b"_" * len(entry))
    path.write_bytes(data)
    return path


def inputs_of(model) -> np.ndarray:
    """The photos, preprocessed as a model wants them."""
    return np.stack([model.preprocess(photo) for photo in PHOTOS])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("weights", "tolerance"), [("float32", 1e-5), ("float16", 1e-5), ("int8", 6e-2)])
def test_networks_with_float_activations(name, weights, tolerance, tmp_path):
    """Weights in float16 are those of the file; with int8 ones the runtime rounds the activations, we do not."""
    path = tmp_path / "net.tflite"
    path.write_bytes(write(*network(*NETWORKS[name]), weights).data)
    wanted = TFLiteModel.open(path).run(NORMALISED)

    graph, arrays = read_graph(path)

    found = Session(graph, arrays, "reference", batch=16).run({"image": NORMALISED})[graph.outputs[0]]
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "aliases"])
def test_8_bit_networks(name, tmp_path):
    """Bit for bit what the runtime computes; as floats, near it."""
    path = tmp_path / "net.tflite"
    graph, arrays = network(*NETWORKS[name])
    path.write_bytes(write(*quantize_int8(graph, arrays, calibrate(graph, arrays, [NORMALISED]), PIXELS)).data)
    wanted = TFLiteModel.open(path).invoke({"image": IMAGES})["logits"]

    stored, real = read_graph(path, quantized=True), read_graph(path)

    exact = Session(*stored, "reference", batch=16).run({"image": IMAGES})[stored[0].outputs[0]]
    near = Session(*real, "reference", batch=16).run({"image": NORMALISED})[real[0].outputs[0]]
    np.testing.assert_array_equal(exact, wanted)
    assert np.abs(near - wanted).max() <= 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("quantize", PRECISIONS)
def test_a_file_of_our_own_comes_back_as_it_was(quantize, tmp_path):
    """Labels, preprocessing, provenance and the classifier's name; logits as the runtime's."""
    path = exported(tmp_path, quantize)
    file = TFLiteModel.open(path)

    model = read(path)

    assert (model.labels, model.preprocess, model.name) == (LABELS, tiny_model().preprocess, "tiny")
    assert model.provenance["source"] == "tiny.tflite"
    assert model.provenance["stored"] == PRECISIONS[quantize]
    assert "preprocess" not in model.provenance
    assert {"head.weight", "head.bias"} <= set(model.workspace)
    wanted = file.run(inputs_of(file))
    np.testing.assert_allclose(model.run(inputs_of(model)), wanted, atol=TOLERANCE[quantize] * np.abs(wanted).max())


def test_edges_of_8_bit_files_may_be_chosen(tmp_path):
    """Preprocessed floats go in, stored scores come out: the same bits as the runtime's."""
    path = tmp_path / "tiny.tflite"
    edge.export(tiny_model(), path, "int8", PHOTOS, input_type="float32", output_type="uint8")
    file = TFLiteModel.open(path)

    model = read_quantized(path)

    np.testing.assert_array_equal(model.run(inputs_of(model)), file.run(inputs_of(file)))


@pytest.mark.parametrize("rule", [None, OF_A_CHANNEL], ids=["in the input's scale", "in the graph"])
def test_an_8_bit_file_of_our_own_is_computed_exactly(rule, tmp_path):
    """From pixels and from preprocessed photos, wherever the normalisation went."""
    path = exported(tmp_path, "int8", rule)
    file = TFLiteModel.open(path)

    model = read_quantized(path)

    assert (model.labels, model.preprocess) == (file.labels, file.preprocess)
    np.testing.assert_array_equal(model.run(PHOTOS), file.run(PHOTOS))
    np.testing.assert_array_equal(model.run(inputs_of(model)), file.run(inputs_of(file)))


def test_a_normalisation_inside_the_graph_is_not_done_twice(tmp_path):
    """The float form of a file that normalises by itself takes plain pixels, cut out as the file says."""
    path = exported(tmp_path, "int8", OF_A_CHANNEL)
    file = TFLiteModel.open(path)

    model = read(path)

    assert model.preprocess == dataclasses.replace(OF_A_CHANNEL, mean=(0.0,) * 3, std=(1.0,) * 3)
    wanted = file.run(inputs_of(file))
    np.testing.assert_allclose(model.run(inputs_of(model)), wanted, atol=0.1 * np.abs(wanted).max())


def test_the_standard_metadata_of_other_makers(tmp_path):
    """Mean, deviation and label file are those of MediaPipe's and the Task Library's format."""
    path = without(exported(tmp_path, rule=OF_A_CHANNEL), EDGE_ENTRY)

    model = read(path)

    assert model.labels == LABELS
    assert model.preprocess.mean == pytest.approx(OF_A_CHANNEL.mean)
    assert model.preprocess.std == pytest.approx(OF_A_CHANNEL.std)
    assert model.provenance["preprocess"].startswith("mean and std of the file's metadata")


def test_pixels_of_a_file_without_metadata(tmp_path):
    """The input's scale and zero point say what a pixel means, for a float model and for an 8-bit one."""
    path = without(exported(tmp_path, "int8"), EDGE_ENTRY, TFLITE_ENTRY)
    file = TFLiteModel.open(path)

    model, stored = read(path), read_quantized(path)

    assert (model.preprocess.mean, model.preprocess.std) == ((127.0,) * 3, (128.0,) * 3)
    assert model.provenance["preprocess"].startswith("quantization of the file's input")
    assert model.labels == ("class 0", "class 1", "class 2")
    np.testing.assert_array_equal(stored.run(PHOTOS), file.run(PHOTOS))


def test_floats_of_a_file_without_metadata_are_a_guess(tmp_path):
    """The provenance says so; what is given takes the place of the guess."""
    path = without(exported(tmp_path), EDGE_ENTRY, TFLITE_ENTRY)

    guessed, told = read(path), read(path, preprocess=OF_A_CHANNEL, labels=("x", "y", "z"))

    assert guessed.provenance["preprocess"].startswith("assumed")
    assert (told.preprocess, told.labels) == (OF_A_CHANNEL, ("x", "y", "z"))
    assert "preprocess" not in told.provenance


def test_a_softmax_at_the_end_is_left_out(tmp_path):
    """Models end in logits, whose softmax is what the file gives."""
    graph, arrays = tiny_model().inference
    g = Builder.extend(graph)
    longer = g.build(g.add(Softmax(), Value("logits"), name="probabilities"))
    path = tmp_path / "probabilities.tflite"
    path.write_bytes(write(longer, arrays, about=About("tiny", tiny_model().preprocess, LABELS)).data)
    file = TFLiteModel.open(path)

    model = read(path)

    x = inputs_of(model)
    assert not any(isinstance(node.op, Softmax) for node in model.graph.nodes)
    np.testing.assert_allclose(softmax(model.run(x)), file.run(x), rtol=1e-5, atol=1e-6)


def test_pixels_that_are_stored_less_by_128(tmp_path):
    """A file whose input is int8 takes the pixels moved by 128; here they are given as they are."""
    graph, arrays = tiny_model().inference
    x = tiny_model().preprocess.normalise(PHOTOS)
    graph, arrays = quantize_int8(graph, arrays, calibrate(graph, arrays, [x]), dataclasses.replace(PIXELS))
    specs = {value: spec for value, spec in graph.specs.items() if value != "image"}
    graph = dataclasses.replace(graph, inputs=(Value("image.int8"),), nodes=graph.nodes[1:], specs=specs)
    path = tmp_path / "signed.tflite"
    path.write_bytes(write(graph, arrays).data)
    wanted = TFLiteModel.open(path).invoke({"image.int8": (PHOTOS.astype(np.int16) - 128).astype(np.int8)})

    stored, real = read_quantized(path), read(path)

    np.testing.assert_array_equal(stored.run(PHOTOS), wanted["logits"])
    assert (real.preprocess.mean, real.preprocess.std) == ((128.0,) * 3, (64.0,) * 3)


def test_a_file_is_trained_further(tmp_path):
    """Photos of three colours are told apart after a few epochs from an 8-bit file of a network that could not."""
    photos = write_photos(tmp_path / "photos")
    path = tmp_path / "tiny.tflite"
    edge.export(tiny_model(), path, quantize="int8", calibrate=photos)

    model = edge.fit(read(path), photos, epochs=4, batch_size=6, learning_rate=0.05, seed=3).model

    assert edge.evaluate(path, photos).top1 < 0.5
    assert edge.evaluate(model, photos).top1 > 0.9


def test_a_weight_that_two_layers_share_is_stored_once(tmp_path):
    """Equal constants lie in a file once; each layer gets an array of its own to train."""
    model = read(exported(tmp_path))

    arrays = list(model.workspace.values())

    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    assert all(array.flags.writeable for array in arrays)


@pytest.mark.parametrize("name", ["mediapipe_hand_recrop.tflite", "tflite_micro_sine.tflite"])
def test_files_that_other_software_wrote(name):
    """Published files of MediaPipe 0.10.14 and TFLite Micro (both Apache-2.0), against the runtime."""
    file = TFLiteModel.open(FILES / name)
    fed = np.random.default_rng(1).random([max(1, size) for size in file.inputs[0].shape]).astype(np.float32)
    wanted = file.invoke({file.inputs[0].name: fed})

    graph, arrays = read_graph(FILES / name)

    batch = len(fed) if any(spec.symbolic for spec in graph.specs.values()) else None
    found = Session(graph, arrays, batch=batch).run({graph.inputs[0]: fed})
    assert len(graph.nodes) >= 3
    for ours, theirs in zip(found.values(), wanted.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_file_of_floats_has_no_8_bit_form(tmp_path):
    """The message says what to do instead."""
    with pytest.raises(FormatError, match="computes on floats, not on int8; read it as a Model"):
        read_quantized(exported(tmp_path, "dynamic"))


def test_a_file_that_classifies_no_photos_is_refused():
    """A sine is computed of one number."""
    with pytest.raises(FormatError, match="wanted photos"):
        read(FILES / "tflite_micro_sine.tflite")


def test_labels_must_be_one_a_class(tmp_path):
    """Counted, and both numbers said."""
    with pytest.raises(FormatError, match="3 classes, but there are 2 labels"):
        read(exported(tmp_path), labels=("a", "b"))


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), (b"", "empty"), (b"0123456789", "TFL3")])
def test_what_is_no_file_is_refused(content, message, tmp_path):
    """By its name."""
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(FormatError, match=rf"model\.tflite.*{message}"):
        read(path)
