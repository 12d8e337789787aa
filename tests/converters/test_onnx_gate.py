"""An .onnx file that loses more than it may in ONNX Runtime gets no name; the ladder is climbed as far as needed."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_models import rescaled_model, tiny_model, write_photos

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.onnx import finished, finisher
from edge_sdk.converters.onnx.export import export_onnx
from edge_sdk.data.folder import ImageFolder
from edge_sdk.errors import DataError, ExportError, MissingExtraError, UsageError
from edge_sdk.model import Model
from edge_sdk.quantization.post_training import quantize
from edge_sdk.quantization.scheme import Scheme

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def trained(photos):
    """A model that tells the colours apart."""
    return edge.fit(tiny_model(), photos, epochs=4, batch_size=6, learning_rate=0.05, seed=3).model


@pytest.fixture(scope="module")
def hard(trained) -> Model:
    """The same function, with channels of very different range between two of its layers."""
    return rescaled_model(trained)


def right_answers(path, photos, model: Model) -> float:
    """The share that a file gets right, by ONNX Runtime alone."""
    data = ImageFolder.scan(photos).train
    x = np.stack([model.preprocess(data.photo(index)) for index in range(len(data))]).transpose(0, 3, 1, 2)
    (logits,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": x})
    return float(np.mean(logits.argmax(axis=1) == [data.label(index) for index in range(len(data))]))


def test_an_easy_network_climbs_one_rung(trained, photos, tmp_path):
    """Plain calibration is enough, and the report says so; without a limit nothing is climbed."""
    report = export_onnx(trained, tmp_path / "a.onnx", "int8", photos, photos, max_drop=3.0)
    plain = export_onnx(trained, tmp_path / "b.onnx", "int8", photos, photos)

    assert [(one.stage, one.rung) for one in report.attempts] == [("int8", "calibration")]
    assert report.drop <= 3.0
    assert report.runtime.startswith("onnxruntime")
    assert json.loads((tmp_path / "a.onnx.json").read_text())["attempts"][0]["rung"] == "calibration"
    assert plain.attempts == ()


def test_a_hard_network_climbs_until_its_file_is_good_enough(hard, photos, tmp_path):
    """The first file is not, a later one is, and only that one is left; ONNX Runtime by itself agrees."""
    told = []

    report = export_onnx(hard, tmp_path / "a.onnx", "int8", photos, photos, max_drop=0.0, listener=told.append)

    drops = [one.drop for one in report.attempts]
    assert len(drops) > 1
    assert drops[0] > 10
    assert drops[-1] <= 0
    assert told == [one.rung for one in report.attempts]
    assert right_answers(tmp_path / "a.onnx", photos, hard) == report.file_accuracy == report.model_accuracy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.json"]


def test_what_is_not_good_enough_gets_another_name(hard, photos, tmp_path):
    """Nothing new lies under the name asked for; beside it are the best file and a report of every layer."""
    (tmp_path / "a.onnx").write_bytes(b"older")

    with pytest.raises(ExportError, match=r"more than the 0\.5 allowed \(by rung: calibration .*a\.rejected\.onnx"):
        export_onnx(hard, tmp_path / "a.onnx", "int8", photos, photos, max_drop=0.5, rungs=("calibration",))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.rejected.onnx", "a.rejected.onnx.json"]
    assert (tmp_path / "a.onnx").read_bytes() == b"older"
    report = json.loads((tmp_path / "a.rejected.onnx.json").read_text())
    assert report["path"].endswith("a.rejected.onnx")
    layers = {layer["value"]: layer for layer in report["layers"]["layers"]}
    assert {"signal_to_noise", "cosine", "histogram", "share"} <= layers["logits"].keys()
    assert right_answers(tmp_path / "a.rejected.onnx", photos, hard) == report["file_accuracy"]


def test_weights_beside_a_refused_file_go_with_it(monkeypatch, tmp_path):
    """The refused file names them as they are called, and opens in ONNX Runtime."""
    monkeypatch.setattr(finished, "LARGEST_MESSAGE", 1 << 20)
    model = pretrained.load("squeezenet1_1", weights=None, num_classes=3, image_size=64)
    x = np.random.default_rng(0).normal(0, 1, (2, 64, 64, 3)).astype(np.float32)

    with pytest.raises(ExportError, match="bytes, more than the 1,000 allowed"):
        export_onnx(model, tmp_path / "a.onnx", max_size=1000)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.rejected.onnx", "a.rejected.onnx.data", "a.rejected.onnx.json",
    ]  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "a.rejected.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": x.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(found, model.run(x), rtol=1e-4, atol=1e-5)


def test_other_precisions_are_gated_too(trained, photos, tmp_path):
    """There is one file of each, held against the same limits; a float one that is too large is told of int8."""
    report = export_onnx(trained, tmp_path / "a.onnx", "fp16", check=photos, max_drop=0.0, max_size=1 << 20)

    assert (report.drop, report.attempts) == (0.0, ())
    with pytest.raises(ExportError, match="quantize='int8' makes it smaller"):
        export_onnx(trained, tmp_path / "b.onnx", check=photos, max_size=1000)
    assert not (tmp_path / "b.onnx").exists()


def test_a_quantized_model_is_one_form(trained, photos, tmp_path):
    """What was decided elsewhere is held against the limit as it is."""
    quantized = quantize(trained, photos, scheme=Scheme(observer="percentile"))

    report = export_onnx(trained, tmp_path / "a.onnx", "int8", check=photos, quantized=quantized, max_drop=50.0)

    assert report.attempts == ()
    assert report.session_agreement >= 0.95


def test_the_scheme_decides_what_is_real(trained, photos, tmp_path):
    """A layer that the scheme excepts computes on floats, and the report names it."""
    name = next(node.outputs[0] for node in trained.inference[0].nodes)

    report = export_onnx(
        trained, tmp_path / "a.onnx", "int8", photos, photos, scheme=Scheme(layers={name: "float32"})
    )  # fmt: skip

    assert report.float_tensors == (f"{name}.real",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 0.5}, "photos that the int8 file was not made with"),
        ({"max_drop": -1.0, "check": "photos"}, "a number of points from 0 to 100, not -1"),
        ({"max_size": 0}, "a number of bytes above 0"),
        ({"rungs": ("bias_correction",)}, "did you mean 'bias-correction'"),
        ({"scheme": Scheme(weights="int4")}, "weights of int4 are for .tflite files"),
        ({"opset": 12}, "opsets 13 to 21"),
    ],
)
def test_mistakes_are_said_before_anything_is_computed(trained, photos, tmp_path, options, message):
    """Limits without held-out photos, limits that are none, unknown rungs."""
    given = {name: photos if value == "photos" else value for name, value in options.items()}

    with pytest.raises(UsageError, match=message):
        export_onnx(trained, tmp_path / "a.onnx", "int8", photos, **given)

    assert list(tmp_path.iterdir()) == []


def test_a_limit_needs_the_runtime(monkeypatch, trained, photos, tmp_path):
    """ONNX's evaluator looks at four photos only, which prove no accuracy."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtraError, match=r"edge-sdk\[onnxruntime\]"):
        export_onnx(trained, tmp_path / "a.onnx", "int8", photos, photos, max_drop=1.0)


def test_calibration_photos_are_looked_at(trained, photos, tmp_path):
    """Photos that teach nothing are refused, and few ones are reported."""
    blank = np.full((20, 16, 16, 3), 7, np.uint8)
    few = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)

    with pytest.raises(DataError, match="one colour"):
        export_onnx(trained, tmp_path / "a.onnx", "int8", blank)
    report = export_onnx(trained, tmp_path / "b.onnx", "int8", few, photos)

    assert not (tmp_path / "a.onnx").exists()
    assert any("ranges will be those of single photos" in finding for finding in report.findings)


def test_what_is_measured_is_the_file(monkeypatch, trained, photos, tmp_path):
    """A scale is damaged behind the writer's back: the Session's graph is right, the file is refused all the same."""
    right = finisher.write

    def wrong(*arguments, **options):
        written = right(*arguments, **options)
        graph = written.proto.graph
        last = next(node for node in graph.node if node.op_type == "DequantizeLinear" and "head" in node.input[0])
        tensor = next(tensor for tensor in graph.initializer if tensor.name == last.input[1])
        tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        return written

    monkeypatch.setattr(finisher, "write", wrong)

    with pytest.raises(ExportError, match=r"more than the 3 allowed"):
        export_onnx(trained, tmp_path / "a.onnx", "int8", photos, photos, max_drop=3.0, rungs=())
    assert onnx.load(tmp_path / "a.rejected.onnx").graph.name
