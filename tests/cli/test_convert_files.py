"""Files that other programs wrote go through convert, eval and the export to int8, on parts of real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import edge_sdk as edge
from edge_sdk.converters import caffe
from edge_sdk.pretrained.checkpoint_form import forms

FILES = Path(__file__).parents[1] / "converters" / "files"
ONNX = ("mobile-script-17.onnx", "mobile-dynamo-21.onnx", "residual-script-13.onnx", "residual-dynamo-18.onnx")


@pytest.fixture
def convert_evaluate_export(run, scenes, tmp_path):
    """Run the three commands on a file; return what eval said of the .edge file and export of the .tflite file."""

    def commands(source, classes, *options):
        labels, converted, exported = (tmp_path / name for name in ("labels.txt", "model.edge", "model.tflite"))
        labels.write_text("\n".join(["cat", "coffee", *(f"other {index}" for index in range(classes - 2))]), "utf-8")
        result = run("convert", source, converted, "--labels", labels, *options, "--json")
        assert result.code == 0, result.err
        assert result.json["classes"] == classes
        before = run("eval", converted, scenes, "--json").json
        int8 = ("--quantize", "int8", "--calibrate", scenes, "--check", scenes, "--out", exported)
        report = run("export", converted, *int8, "--json")
        assert report.code == 0, report.err
        assert run("eval", exported, scenes, "--json").json["count"] == 16
        return before, report.json

    return commands


@pytest.mark.parametrize("name", ONNX)
def test_files_of_torch_onnx(name, convert_evaluate_export):
    """Both of PyTorch's exporters, several opsets."""
    classes = edge.load(FILES / name).num_classes

    before, report = convert_evaluate_export(
        FILES / name, classes, "--mean", "123.7,116.3,103.5", "--std", "58.4,57.1,57.4"
    )

    assert before["count"] == report["photos"] == 16
    assert report["agreement"] >= 0.5


@pytest.mark.parametrize("name", ["mobilenet", "residual", "v1"])
def test_files_of_caffe(name, convert_evaluate_export):
    """A definition with its weights and a mean image."""
    definition, weights, mean = (
        FILES / "caffe" / file for file in (f"{name}.prototxt", f"{name}.caffemodel", "mean.binaryproto")
    )
    model = caffe.read(definition, weights)

    before, report = convert_evaluate_export(definition, model.num_classes, "--weights", weights, "--mean", mean)

    assert before["count"] == report["photos"] == 16


def test_a_checkpoint_is_recognised(convert_evaluate_export, tmp_path):
    """Weights in a file of the safetensors package, with the published keys of a network of the zoo and two classes."""
    random = np.random.default_rng(0)
    form = forms("shufflenet_v2_x0_5")[0]
    arrays = {
        key: np.abs(random.standard_normal((2, *shape[1:]) if key in form.heads else shape)).astype(np.float32) + 0.5
        if key.endswith(("running_var", ".weight")) and len(shape) == 1
        else random.standard_normal((2, *shape[1:]) if key in form.heads else shape).astype(np.float32) * 0.2
        for key, shape in form.shapes.items()
    }
    save_file(arrays, tmp_path / "mine.safetensors")

    before, report = convert_evaluate_export(tmp_path / "mine.safetensors", 2, "--image-size", "64")

    assert before["count"] == report["photos"] == 16
