"""The pass to 16-bit activations: what the graph looks like, alone and beside layers of 8 bits and of real numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk import pretrained
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import ExportError
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.ops.activation import HardSwish
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.quantization.observers import OBSERVERS
from edge_sdk.quantization.parameters import narrowed, quantize_bias, widened
from edge_sdk.quantization.post_training import QuantizedModel, quantize
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.spec import QuantParams, Value

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (8, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network."""
    return tiny_model()


def equal_in_the_runtime(quantized: QuantizedModel) -> bool:
    """Whether the file of a quantized network gives the same logits as the Session."""
    theirs = TFLiteModel(write(quantized.graph, quantized.workspace).data).run(PIXELS)
    return np.array_equal(quantized.run(PIXELS), theirs)


def test_what_is_stored(model):
    """Activations of 16 bits with the zero point 0, weights of 8, biases of 64; pixels alone are uint8."""
    quantized = quantize(model, PIXELS, scheme=Scheme(activations="int16"))

    graph = quantized.graph
    computed = {value for node in graph.nodes for value in node.outputs if value != OUTPUT}
    assert {graph.specs[value].dtype for value in computed} == {"int16"}
    assert {graph.specs[value].quant.zero_point for value in computed} == {(0,)}
    assert graph.specs[Value(INPUT)].dtype == "uint8"
    assert {array.dtype.name for array in quantized.workspace.values()} == {"int8", "int64"}


@pytest.mark.parametrize(
    ("output", "names"), [("float32", ["logits.int16"]), ("uint8", ["logits.int16", "logits.int8"])]
)
def test_stored_logits_are_named_by_their_type(model, output, names):
    """And so is the form of 8 bits that results of uint8 are made of."""
    graph = quantize(model, PIXELS, output_type=output, scheme=Scheme(activations="int16")).graph

    assert [value for value in graph.specs if value.startswith("logits.")] == names
    assert all(graph.specs[value].dtype == value.removeprefix("logits.") for value in names)


def test_pixels_stay_exact(model):
    """Every pixel's stored number means the same real number as the pixel."""
    quantized = quantize(model, PIXELS, scheme=Scheme(activations="int16"))
    graph = quantized.graph
    pixel, wide = graph.specs[Value(INPUT)].quant, graph.specs[graph.nodes[0].output].quant
    levels = np.arange(256)

    real = (levels - pixel.zero_point[0]) * pixel.scale[0]

    steps = real / wide.scale[0]
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert np.abs(steps).max() <= 32767


@pytest.mark.parametrize("outer", ["int8", "int16", "float32"])
@pytest.mark.parametrize("inner", ["int8", "int16", "float32"])
def test_any_layer_in_any_precision(model, outer, inner):
    """Each pair of precisions side by side is a file that computes as the Session does, near the float network."""
    graph, _ = model.inference
    inside = [node.outputs[0] for node in graph.nodes if isinstance(node.op, Conv2D | DepthwiseConv2D)][1::2]
    names = [node.outputs[0] for node in graph.nodes]
    layers = {name: inner if name in inside else outer for name in names}

    quantized = quantize(model, PIXELS, scheme=Scheme(layers=layers))

    real = model.run(np.stack([model.preprocess(pixels) for pixels in PIXELS]))
    assert inside
    if "float32" not in (outer, inner):  # real numbers are rounded in another order
        assert equal_in_the_runtime(quantized)
    assert np.abs(quantized.run(PIXELS) - real).max() < 0.1 * np.ptp(real)


def test_a_layer_of_16_bits_is_surrounded_by_borders(model):
    """One such layer in a network of 8 bits reads and gives stored numbers, without a float between."""
    graph, _ = model.inference
    name = next(node.outputs[0] for node in graph.nodes[1:] if isinstance(node.op, Conv2D))

    quantized = quantize(model, PIXELS, scheme=Scheme(layers={name: "int16"}))

    specs = quantized.graph.specs
    node = next(node for node in quantized.graph.nodes if name in node.outputs)
    assert [specs[value].dtype for value in (*node.inputs, *node.outputs)] == ["int16", "int8", "int64", "int16"]
    assert {spec.dtype for value, spec in specs.items() if value != OUTPUT} <= {
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
    }


def test_what_has_no_16_bit_form_stays_real():
    """A hard swish becomes an island of real numbers; asked for by name it is refused."""
    model = pretrained.load("mobilenet_v3_small", weights=None, image_size=32)
    pixels = RANDOM.integers(0, 256, (2, *model.preprocess.shape), np.uint8)
    swish = [node.outputs[0] for node in model.inference[0].nodes if isinstance(node.op, HardSwish)]

    quantized = quantize(model, pixels, scheme=Scheme(activations="int16"))

    nodes = [node for node in quantized.graph.nodes if isinstance(node.op, HardSwish)]
    assert {quantized.graph.specs[node.inputs[0]].dtype for node in nodes} == {"float32"}
    with pytest.raises(ExportError, match=rf"int16: no 16-bit form of hard_swish \({swish[0]}\); compute it on int8"):
        quantize(model, pixels, scheme=Scheme(layers={swish[0]: "int16"}))


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_chooses_ranges_for_16_bits(model, observer):
    """Whatever chooses the ranges, logits stay near: no observer cuts off what 16 bits have room for."""
    real = model.run(np.stack([model.preprocess(pixels) for pixels in PIXELS]))

    found = quantize(model, PIXELS, scheme=Scheme(observer=observer, activations="int16")).run(PIXELS)

    assert np.abs(found - real).mean() < 0.03 * np.ptp(real)


@pytest.mark.parametrize("zero", [-128, -50, 0, 127])
def test_widened_numbers_are_exact(zero):
    """Each of the 256 numbers of a scale is a whole number of the finer steps, and none is beyond 16 bits."""
    wide = widened(QuantParams((0.3,), (zero,)))

    steps = (np.arange(-128, 128) - zero) * (0.3 / wide.scale[0])

    np.testing.assert_array_equal(steps, np.rint(steps))
    assert 16383 < np.abs(steps).max() <= 32767
    assert wide.zero_point == (0,)


def test_narrowed_numbers_cover_the_range_by_hand():
    """32767 steps of 0.01 are ±327.67: 127 to either side, or 255 from 0 on."""
    wide = QuantParams((0.01,), (0,))

    assert narrowed(wide, positive=False) == QuantParams((float(np.float32(327.67 / 127)),), (0,))
    assert narrowed(wide, positive=True) == QuantParams((float(np.float32(327.67 / 255)),), (-128,))


def test_biases_have_64_bits_and_leave_room():
    """Beyond what int32 holds they are kept; beyond what runtimes multiply they are limited."""
    stored, _ = quantize_bias(np.array([5.0, 1e9]), 1e-6, QuantParams((1e-3,), (0,)), "int16")

    assert stored.dtype == np.int64
    assert stored.tolist() == [pytest.approx(5e9, rel=1e-6), 2**40]
