"""Whole graphs in every precision: what is stored, how near it comes, and what the report says."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import IMAGES, NETWORKS, NORMALISED, PIXELS, network

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import ExportError, UsageError
from edge_sdk.ops.activation import Relu, Tanh
from edge_sdk.ops.control import Identity
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.quantization import Dequantize
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.shape import Cast
from edge_sdk.quantization.calibration import calibrate
from edge_sdk.quantization.int8 import quantize_int8
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec, Value
from edge_sdk.workspace import Workspace


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("weights", "tolerance"), [("float32", 1e-5), ("float16", 5e-3), ("int8", 6e-2)])
def test_float_graphs_in_three_precisions(name, weights, tolerance):
    """The file's logits are those of the reference, as near as the precision of the weights allows."""
    graph, workspace = network(*NETWORKS[name])
    wanted = Session(graph, workspace, device="reference", batch=16).run({"image": NORMALISED})["logits"]

    written = write(graph, workspace, weights)

    found = TFLiteModel(written.data).run(NORMALISED)
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()
    assert written.report.float_tensors == ()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "aliases"])
def test_full_int8_graphs(name):
    """Nothing is a float between the edges, and the logits stay near the float ones."""
    graph, workspace = network(*NETWORKS[name])
    wanted = Session(graph, workspace, device="reference", batch=16).run({"image": NORMALISED})["logits"]
    ranges = calibrate(graph, workspace, [NORMALISED])

    written = write(*quantize_int8(graph, workspace, ranges, PIXELS))

    model = TFLiteModel(written.data)
    found = model.invoke({"image": IMAGES})["logits"]
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("uint8", "float32")
    assert written.report.float_tensors == ()
    assert np.abs(found - wanted).max() <= 0.08 * np.abs(wanted).max()


def test_weights_take_the_space_they_should():
    """Half a float32 file in float16, about a quarter with int8 weights."""
    graph, workspace = network((Conv2D((1, 1), "same"), (64, 3, 3, 8)))

    size = {weights: write(graph, workspace, weights).report.size for weights in ("float32", "float16", "int8")}

    assert size["float16"] / size["float32"] == pytest.approx(0.5, abs=0.05)
    assert size["int8"] / size["float32"] == pytest.approx(0.25, abs=0.05)


def test_the_report_names_what_stays_in_float():
    """Small weights, and weights beyond the range of float16."""
    graph, workspace = network((Conv2D((1, 1), "same"), (4, 1, 1, 8)))
    small = write(graph, workspace, "int8").report
    workspace["w0"][0, 0, 0, 0] = 1e6
    large = write(graph, workspace, "float16").report

    assert small.float_weights == ("w0",)
    assert large.float_weights == ("w0",)


def test_a_float_tensor_inside_an_int8_graph_is_reported():
    """Dequantized in the middle by hand: the report has its name."""
    graph, workspace = network(*NETWORKS["plain"])
    quantized, arrays = quantize_int8(graph, workspace, calibrate(graph, workspace, [NORMALISED]), PIXELS)
    g = Builder.extend(quantized)
    longer = g.build(g.add(Relu(), Value("logits"), name="above_zero"))

    assert write(longer, arrays).report.float_tensors == ("logits",)


def test_no_transpose_is_added_and_the_oldest_runtime_is_named():
    """Images stay (n, h, w, c) from end to end."""
    report = write(*network(*NETWORKS["padded"])).report

    assert "TRANSPOSE" not in report.operators
    assert report.operators["CONV_2D"] == 1
    assert report.minimum_runtime == "2.3.0"


def test_equal_graphs_are_equal_files():
    """Byte for byte."""
    assert write(*network(*NETWORKS["grouped"]), "int8").data == write(*network(*NETWORKS["grouped"]), "int8").data


def test_an_output_that_is_an_input_is_copied():
    """Runtimes want outputs that are computed, and each only once."""
    g = Builder("same")
    x = g.input("x", Spec((BATCH, 3)))
    y, z = g.add(Identity(), x, name="y"), g.add(Identity(), x, name="z")
    model = TFLiteModel(write(g.build(y, z), Workspace()).data)
    fed = np.arange(6, dtype=np.float32).reshape(2, 3)

    outputs = list(model.invoke({"x": fed}).values())

    assert len(outputs) == 2
    np.testing.assert_array_equal(outputs, [fed, fed])


@pytest.mark.parametrize(
    ("shape", "dtype", "op", "message"),
    [
        ((2, 3), "float64", Identity(), "float64"),
        ((0, 3), "float32", Identity(), "without elements"),
        ((2, 3), "int32", Tanh(), "TANH computes no int32"),
        ((2, 3), "float32", Cast("float64"), "float64"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(shape, dtype, op, message):
    """With the name of the value, before a file is written."""
    g = Builder("bad")
    graph = g.build(g.add(op, g.input("x", Spec(shape, dtype)), name="y"))

    with pytest.raises(ExportError, match=message):
        write(graph, Workspace())


def test_weights_that_are_computed_are_refused():
    """A convolution's weights must be known when the file is written."""
    g = Builder("bad")
    x, w = g.input("x", Spec((1, 4, 4, 2))), g.input("w", Spec((3, 1, 1, 2)))

    with pytest.raises(ExportError, match="'w' is computed"):
        write(g.build(g.add(Conv2D(), x, w)), Workspace())


def test_a_dequantize_that_contradicts_its_input_is_refused():
    """TFLite takes the numbers from the tensor; without them every output would silently be 0."""
    g = Builder("bad")
    graph = g.build(g.add(Dequantize(0.5, 3), g.input("x", Spec((4,), "int8")), name="y"))

    with pytest.raises(ExportError, match="'x' is quantized by None"):
        write(graph, Workspace())


def test_dropout_in_its_training_form_is_refused():
    """With the pass that turns it into its inference form."""
    g = Builder("bad")
    x, step = g.input("x", Spec((1, 4))), g.input("step", Spec((), "int64"))

    with pytest.raises(ExportError, match="to_inference"):
        write(g.build(g.add(Dropout(0.5), x, step)), Workspace())


def test_an_unknown_precision_gets_a_suggestion():
    """A typo is an error with a way out."""
    with pytest.raises(UsageError, match="did you mean 'float16'"):
        write(*network(*NETWORKS["plain"]), "flaot16")
