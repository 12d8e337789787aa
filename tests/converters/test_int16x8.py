"""Files of int8 weights under int16 activations: exported, proven, read back, and refused where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk.converters.tflite import read_graph
from edge_sdk.converters.tflite.file_graph import read_file_graph
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.verification import verify_file
from edge_sdk.errors import ExportError, UsageError
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.session import Session

PHOTOS = np.random.default_rng(3).integers(0, 256, (8, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where files of this module lie."""
    return tmp_path_factory.mktemp("int16x8")


@pytest.fixture(scope="module")
def report(folder):
    """A small network's file."""
    return edge.export(tiny_model(), folder / "wide.tflite", quantize="int16x8", calibrate=PHOTOS)


def test_the_finished_file_agrees_better_than_one_of_8_bits(folder, report):
    """The report has the precision's name; weights take what those of int8 take, and logits are nearer.

    Pixels pass through real numbers on their way to 16 bits; nothing else is a float.
    """
    narrow = edge.export(tiny_model(), folder / "narrow.tflite", quantize="int8", calibrate=PHOTOS)

    assert (report.precision, report.minimum_runtime) == ("int16x8", "2.4.0")
    assert report.mean_difference < narrow.mean_difference
    assert report.agreement >= narrow.agreement
    assert report.bytes < 1.3 * narrow.bytes
    assert report.float_tensors == ("image.int16/real",)


def test_the_versions_are_those_of_16_bits(folder, report):
    """CONV_2D 4, FULLY_CONNECTED 7, QUANTIZE 2, DEQUANTIZE 3; biases are int64."""
    graph = read_file_graph((folder / "wide.tflite").read_bytes(), "wide")

    versions = {operator.name: operator.version for operator in graph.operators}
    biases = {graph.tensors[operator.inputs[2]].dtype for operator in graph.operators if operator.name == "CONV_2D"}

    assert versions["CONV_2D"] == 4
    assert (versions["QUANTIZE"], versions["DEQUANTIZE"]) == (2, 3)
    assert biases == {"int64"}


def test_bytes_become_16_bits_by_way_of_real_numbers(folder, report):
    """tflite-runtime 2.14 and ai-edge-litert 1.4 refuse a QUANTIZE from bytes to int16; no file has one."""
    model = tiny_model()
    inner = model.inference[0].nodes[2].outputs[0]
    edge.export(model, folder / "mixed.tflite", "int8", PHOTOS, scheme=Scheme(layers={inner: "int16"}))

    for name in ("wide", "mixed"):
        graph = read_file_graph((folder / f"{name}.tflite").read_bytes(), name)
        types = [
            (graph.tensors[operator.inputs[0]].dtype, graph.tensors[operator.outputs[0]].dtype)
            for operator in graph.operators
            if operator.name == "QUANTIZE"
        ]
        assert ("float32", "int16") in types
        assert not {("uint8", "int16"), ("int8", "int16")} & {*types}


def test_the_self_test_is_exact(folder, report):
    """`edge verify` replays it; damage to a weight is seen."""
    found = verify_file(folder / "wide.tflite")

    assert found.passed
    assert found.replay.verdict == "exact"
    assert found.replay.exact_promised


@pytest.mark.parametrize(("taken", "given"), [("uint8", "uint8"), ("float32", "float32"), ("float32", "uint8")])
def test_other_inputs_and_outputs(folder, taken, given):
    """A file takes and gives what was asked for; its self-test is of those types."""
    path = folder / f"{taken}_{given}.tflite"

    edge.export(
        tiny_model(), path, quantize="int16x8", calibrate=PHOTOS, input_type=taken, output_type=given,
        output="probabilities",
    )  # fmt: skip

    file = TFLiteModel.open(path)
    assert (file.inputs[0].dtype, file.outputs[0].dtype) == (taken, given)
    assert verify_file(path).passed


def test_it_is_read_back_bit_for_bit(folder, report):
    """The Session on what was read gives the bytes of the runtime."""
    path = folder / "wide.tflite"
    wanted = TFLiteModel.open(path).invoke({"image": PHOTOS})

    graph, weights = read_graph(path, quantized=True)

    found = Session(graph, weights, batch=len(PHOTOS)).run({graph.inputs[0]: PHOTOS})
    np.testing.assert_array_equal(next(iter(found.values())), next(iter(wanted.values())))


def test_the_same_inputs_give_the_same_bytes(folder, report):
    """Nothing in a file depends on when it was written."""
    edge.export(tiny_model(), folder / "again.tflite", quantize="int16x8", calibrate=PHOTOS)

    assert (folder / "again.tflite").read_bytes() == (folder / "wide.tflite").read_bytes()


def test_the_gate_climbs_with_16_bits(folder):
    """Within the limit by calibration alone; the file that was measured is the one that is left."""
    found = edge.export(
        tiny_model(), folder / "gated.tflite", quantize="int16x8", calibrate=PHOTOS, check=PHOTOS, max_drop=20.0
    )

    assert [attempt.rung for attempt in found.attempts] == ["calibration"]
    assert found.precision == "int16x8"


def test_refusals(folder, report):
    """No photos, weights of 4 bits, a runtime before 16-bit sums, and kinds of files that have no such thing."""
    model, path = tiny_model(), folder / "none.tflite"

    with pytest.raises(UsageError, match="int16x8 needs photos"):
        edge.export(model, path, quantize="int16x8")
    with pytest.raises(UsageError, match="int16x8 has weights of 8 bits, not int4"):
        edge.export(model, path, quantize="int16x8", calibrate=PHOTOS, scheme=Scheme(weights="int4"))
    with pytest.raises(ExportError, match=r"for TensorFlow Lite 2\.3: .* is in TensorFlow Lite 2\.4"):
        edge.export(model, path, quantize="int16x8", calibrate=PHOTOS, min_runtime="2.3")
    with pytest.raises(UsageError, match="did you mean 'int16x8'"):
        edge.export(model, path, quantize="int16x4", calibrate=PHOTOS)
    with pytest.raises(UsageError, match="not one of none, fp16, dynamic, int8"):
        edge.export_onnx(model, folder / "none.onnx", "int16x8", PHOTOS)
    assert not path.exists()
