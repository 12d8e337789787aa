"""A model as an .onnx file: proven, named, read back, the same bytes every time."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_models import LABELS, tiny_model

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.onnx import finished, finisher
from edge_sdk.converters.onnx.export import REFERENCE_PHOTOS, export_onnx
from edge_sdk.converters.onnx.runtime import ONNXModel
from edge_sdk.errors import ExportError, FormatError, MissingExtraError, UsageError
from edge_sdk.model import Model
from edge_sdk.quantization.post_training import quantize

pytest.importorskip("onnxruntime")
# The smallest network of each family, some of them with `pytest -m long`; every other one is run with `pytest -m slow`.
LIGHT = (
    "alexnet", "densenet121", "efficientnet_lite0", "googlenet", "mnasnet0_5", "mobilenet_v1_0_25",
    "mobilenet_v3_small", "mobilenetv2", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1",
)  # fmt: skip
LONG = ("alexnet", "densenet121", "efficientnet_lite0")
SIDES = {"alexnet": 96, "alexnet_caffe": 96, "caffenet": 96}
WITH_FLOATS = ("alexnet_caffe", "caffenet", "googlenet_caffe")


@pytest.fixture
def photos():
    """Noise, uint8 (n, h, w, 3)."""
    return np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), np.uint8)


@pytest.fixture
def model(request) -> Model:
    """A network with random weights, small images and few classes."""
    return pretrained.load(request.param, weights=None, num_classes=10, image_size=SIDES.get(request.param, 64))


@pytest.mark.parametrize(
    "model",
    [
        *(name for name in LIGHT if name not in LONG),
        *(pytest.param(name, marks=pytest.mark.long) for name in LONG),
        *(pytest.param(name, marks=pytest.mark.slow) for name in pretrained.list_models() if name not in LIGHT),
    ],
    indirect=True,
)
def test_a_network_is_proven_in_onnx_runtime_and_reads_back(model, photos, tmp_path):
    """float32 within 1e-5 of the largest logit, without a Transpose; our reader makes the same network of it."""
    path = tmp_path / "model.onnx"

    report = export_onnx(model, path, check=photos)
    back = edge.load(path)

    assert report.runtime.startswith("onnxruntime")
    assert (report.photos, report.agreement) == (8, 1.0)
    assert report.relative_difference <= 1e-5
    assert "Transpose" not in report.operators
    assert (back.labels, back.preprocess, back.name) == (model.labels, model.preprocess, model.name)
    images = np.stack([model.preprocess(photo) for photo in photos[:2]])
    wanted = model.run(images)
    assert np.abs(back.run(images) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    path.unlink()  # up to 580 MB


@pytest.mark.parametrize(
    "model",
    [
        "mobilenetv2", "resnet18", "squeezenet1_1",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("densenet121", "efficientnet_lite0", "googlenet_caffe")),
    ],
    indirect=True,
)  # fmt: skip
def test_8_bit_files_follow_our_own_8_bit_session(model, photos, tmp_path):
    """The same answers, logits a few steps apart: a step of rounding in a layer moves those behind it."""
    path = tmp_path / "model.onnx"

    report = export_onnx(model, path, "int8", calibrate=photos)
    back = edge.load(path)

    assert report.session_agreement == 1.0
    assert report.session_difference <= 0.1
    assert bool(report.float_tensors) == (model.name in WITH_FLOATS)
    assert report.operators["QuantizeLinear"] > 10
    weights = sum(array.size for array in model.inference[1].values())
    assert path.stat().st_size < 1.2 * weights + 300_000
    assert back.labels == model.labels


@pytest.mark.parametrize(("precision", "share"), [("none", 1.0), ("fp16", 0.6), ("dynamic", 0.4)])
def test_weights_take_less_where_asked(precision, share, photos, tmp_path):
    """Half or a quarter of the bytes; the logits stay near."""
    model = pretrained.load("squeezenet1_1", weights=None, num_classes=10, image_size=64)

    report = export_onnx(model, tmp_path / "m.onnx", precision, check=photos)

    assert report.bytes < share * 4 * sum(array.size for array in model.inference[1].values()) + 50_000
    assert report.relative_difference < {"none": 1e-5, "fp16": 5e-3, "dynamic": 0.1}[precision]


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_each_opset_gives_the_same_logits(opset, photos, tmp_path):
    """From the oldest to the newest; hard swish and its gates are in the network."""
    model = pretrained.load("mobilenet_v3_small", weights=None, num_classes=10, image_size=64)

    report = export_onnx(model, tmp_path / "m.onnx", check=photos, opset=opset)

    assert report.relative_difference <= 1e-5
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == report.opset == opset


def test_photos_may_be_taken_channels_last(photos, tmp_path):
    """The input is (batch, h, w, 3), and our reader undoes the Transpose."""
    model = tiny_model()

    report = export_onnx(model, tmp_path / "m.onnx", check=photos, image_layout="nhwc")
    back = edge.load(tmp_path / "m.onnx")

    assert report.input == "float32['batch', 16, 16, 3]"
    assert report.operators["Transpose"] == 1
    images = np.stack([model.preprocess(photo) for photo in photos])
    np.testing.assert_allclose(back.run(images), model.run(images), atol=1e-5)


@pytest.mark.parametrize("output_type", ["float32", "uint8"])
def test_8_bit_files_may_take_pixels(output_type, photos, tmp_path):
    """uint8 in; with uint8 out the stored scores mean what the Session's do."""
    model = tiny_model()
    quantized = quantize(model, photos, "uint8", output_type)

    report = export_onnx(model, tmp_path / "m.onnx", "int8", check=photos, quantized=quantized)

    assert report.input == "uint8['batch', 3, 16, 16]"
    assert report.output == f"{output_type}['batch', 3]"
    assert report.session_difference <= 0.05


def test_metadata_say_how_the_file_is_fed(tmp_path):
    """Labels, normalisation, provenance and the hash of the weights, under keys that any client can read."""
    model = tiny_model()

    export_onnx(model, tmp_path / "m.onnx")

    entries = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(entries["labels"]) == list(LABELS)
    assert (json.loads(entries["mean"]), json.loads(entries["std"])) == ([127.0] * 3, [128.0] * 3)
    own = json.loads(entries["edge_sdk"])
    assert own["provenance"] == {"architecture": "tiny"}
    assert own["weights_sha256"] == model.inference[1].digest()


@pytest.mark.parametrize("precision", ["none", "int8"])
def test_equal_models_give_equal_bytes(precision, photos, tmp_path):
    """Nothing in a file depends on when or where it is written."""
    for name in ("a", "b"):
        export_onnx(tiny_model(), tmp_path / name / "m.onnx", precision, calibrate=photos)

    assert (tmp_path / "a" / "m.onnx").read_bytes() == (tmp_path / "b" / "m.onnx").read_bytes()


def test_large_weights_lie_beside_the_file(monkeypatch, photos, tmp_path):
    """Above what a protobuf message holds; the file is proven with them, and reads back."""
    model = pretrained.load("squeezenet1_1", weights=None, num_classes=10, image_size=64)
    monkeypatch.setattr(finished, "LARGEST_MESSAGE", 1 << 20)

    report = export_onnx(model, tmp_path / "m.onnx", check=photos)

    assert (tmp_path / "m.onnx.data").stat().st_size > 2_000_000
    assert (tmp_path / "m.onnx").stat().st_size < 200_000
    assert report.bytes > 2_000_000
    images = np.stack([model.preprocess(photo) for photo in photos[:2]])
    np.testing.assert_allclose(edge.load(tmp_path / "m.onnx").run(images), model.run(images), rtol=1e-4, atol=1e-4)


def test_a_file_that_computes_something_else_gets_no_name(monkeypatch, photos, tmp_path):
    """A weight is changed behind the writer's back: the proof fails, an older file stays, nothing else is left."""
    (tmp_path / "m.onnx").write_bytes(b"older")
    right = finisher.write

    def wrong(*arguments, **options):
        written = right(*arguments, **options)
        tensor = next(t for t in written.proto.graph.initializer if t.name.startswith("head.weight"))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.01, tensor.name))
        return written

    monkeypatch.setattr(finisher, "write", wrong)

    with pytest.raises(ExportError, match=r"logits differ from the model's by .*; no file was left"):
        export_onnx(tiny_model(), tmp_path / "m.onnx", check=photos)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("m.onnx", b"older")]


def test_without_onnx_runtime_the_reference_evaluator_is_asked(monkeypatch, photos, tmp_path):
    """A few photos are enough to prove a file where nothing else is installed."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    report = export_onnx(tiny_model(), tmp_path / "m.onnx", check=photos)

    assert report.runtime == f"onnx.reference {onnx.__version__}"
    assert report.photos == REFERENCE_PHOTOS
    assert report.relative_difference <= 1e-5


def test_without_onnx_it_says_what_to_install(monkeypatch, tmp_path):
    """A MissingExtraError with the extra's name."""
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(MissingExtraError, match=r"edge-sdk\[onnx\]"):
        export_onnx(tiny_model(), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.tflite", {}, "must end in .onnx"),
        ("m.onnx", {"quantize": "fp61"}, "did you mean 'fp16'"),
        ("m.onnx", {"quantize": "int8"}, "needs photos"),
        ("m.onnx", {"opset": 12}, "opsets 13 to 21"),
        ("m.onnx", {"image_layout": "chw"}, "not one of nchw, nhwc"),
        ("m.onnx", {"input_type": "uint8"}, "is for quantize='int8'"),
        ("m.onnx", {"threads": 0}, "threads must be 1 or more"),
    ],
)
def test_mistakes_are_said(name, options, message, tmp_path):
    """And no file is left."""
    with pytest.raises(UsageError, match=message):
        export_onnx(tiny_model(), tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no JSON", "{}", '{"format": 1}', '{"format": 1, "labels": [1]}', "[" * 100_000])
def test_a_damaged_entry_is_a_format_error(damage, tmp_path):
    """Our own entry is checked like everything in a file."""
    path = tmp_path / "m.onnx"
    export_onnx(tiny_model(), path)
    model = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == "edge_sdk").value = damage
    onnx.save(model, path)

    with pytest.raises(FormatError, match="metadata 'edge_sdk'"):
        edge.load(path)
    with pytest.raises(FormatError, match="metadata 'edge_sdk'"):
        ONNXModel(path)
