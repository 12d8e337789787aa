"""The pass to int8: what the graph looks like, and that it still computes the function."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.errors import DataError, ExportError
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.ops.activation import Gelu, Relu, Sigmoid, Softmax
from edge_sdk.ops.elementwise import Add, Maximum, Minimum
from edge_sdk.ops.pool import MaxPool2D
from edge_sdk.ops.shape import Concat, Flatten
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import calibrate
from edge_sdk.quantization.int8 import quantize_int8
from edge_sdk.quantization.normalisation import embed_normalisation, pixel_parameters
from edge_sdk.quantization.parameters import Range
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (8, 16, 16, 3), np.uint8)


def normalised(model: Model) -> np.ndarray:
    """The photos as the float network wants them."""
    return np.stack([model.preprocess(pixels) for pixels in PIXELS])


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network."""
    return tiny_model()


@pytest.fixture(scope="module")
def quantized(model):
    """Its int8 form, with uint8 input and float output."""
    graph, workspace = model.inference
    ranges = calibrate(graph, workspace, [normalised(model)])
    return quantize_int8(graph, workspace, ranges, pixel_parameters(model.preprocess))


def test_nothing_inside_is_a_float(quantized):
    """The stated edges alone: pixels go in as uint8, logits come out as float32."""
    graph, workspace = quantized

    floats = [value for value, spec in graph.specs.items() if spec.dtype.startswith("float")]

    assert floats == [OUTPUT]
    assert graph.specs[Value(INPUT)].dtype == "uint8"
    assert {array.dtype.name for array in workspace.values()} == {"int8", "int32"}


def test_every_number_says_what_it_means(quantized):
    """Each quantized tensor carries its parameters; weights are symmetric, biases have the accumulator's scale."""
    graph, _ = quantized

    for node in graph.nodes:
        for value in (*node.inputs, *node.outputs):
            if value != OUTPUT:
                assert graph.specs[value].quant is not None, value
        if len(node.inputs) == 3:
            data, weight, bias = (graph.specs[value].quant for value in node.inputs)
            assert set(weight.zero_point) == set(bias.zero_point) == {0}
            np.testing.assert_allclose(bias.scale, np.float32(data.scale[0]) * np.array(weight.scale), rtol=1e-6)


def test_it_computes_the_same_function_to_8_bits(model, quantized):
    """By the specification's own arithmetic in NumPy, as the runtime is not asked here."""
    graph, _ = quantized
    wanted = model.run(normalised(model))

    found = fake_quantized(model, graph, normalised(model))

    assert np.abs(found - wanted).max() < 0.08 * np.ptp(wanted)


def fake_quantized(model: Model, graph, x: np.ndarray) -> np.ndarray:
    """The float network with every weight and every activation rounded to what the int8 graph stores."""
    original, workspace = model.inference
    arrays = Workspace({name: round_to(array, graph.specs[name].quant) for name, array in workspace.items()})
    values = {Value(INPUT): round_to(x, graph.specs[Value(f"{INPUT}.int8")].quant)}
    for node in original.nodes:
        builder = Builder("one")
        inputs = [
            builder.param(v, original.specs[v]) if v in arrays else builder.input(v, original.specs[v])
            for v in dict.fromkeys(node.inputs)
        ]
        assert len(inputs) == len(node.inputs)
        builder.append(node.op, inputs, [original.specs[v] for v in node.outputs], name=node.outputs[0])
        session = Session(builder.build(node.output), arrays.restricted(builder.build(node.output)), batch=len(x))
        result = session.run({v: values[v] for v in inputs if v in values})[node.output]
        stored = Value(f"{OUTPUT}.int8") if node.output == OUTPUT else node.output
        values[node.output] = round_to(result, graph.specs[stored].quant)
    return values[Value(OUTPUT)]


def round_to(array: np.ndarray, quant: QuantParams) -> np.ndarray:
    """To the nearest number that is stored under these parameters."""
    shape = [-1 if axis == quant.axis else 1 for axis in range(array.ndim)]
    scale = np.array(quant.scale, np.float32).reshape(shape) if quant.axis is not None else quant.scale[0]
    bits = 31 if quant.axis == 0 and array.ndim == 1 else 7
    zero = np.array(quant.zero_point).reshape(shape) if quant.axis is not None else quant.zero_point[0]
    steps = np.clip(np.round(array / scale) + zero, -(2**bits), 2**bits - 1)
    return ((steps - zero) * scale).astype(np.float32)


def two_branches(*last) -> tuple:
    """Relu and sigmoid of the image, pooled and joined, and a head."""
    g = Builder("branches")
    image = g.input(INPUT, Spec((BATCH, 4, 4, 3)))
    left = g.add(MaxPool2D((2, 2), (2, 2)), g.add(Relu(), image, name="left"), name="pooled")
    right = g.add(MaxPool2D((2, 2), (2, 2)), g.add(Sigmoid(), image, name="right"), name="right_pooled")
    joined = g.add(Concat(3), left, right, name="joined")
    x = g.add(Flatten(), g.add(Add(), joined, joined, name="sum"), name="flat")
    for op in last:
        x = g.add(op, x)
    return g.build(g.add(Relu(), x, name=OUTPUT)), Workspace()


def test_what_moves_numbers_keeps_their_parameters():
    """Pools, concat and flatten share scale and zero point with what goes in; sigmoid's are the specification's."""
    graph, workspace = two_branches()
    images = RANDOM.normal(0, 2, (4, 4, 4, 3)).astype(np.float32)
    ranges = calibrate(graph, workspace, [images])

    found, _ = quantize_int8(graph, workspace, ranges, QuantParams((1 / 32,), (128,)))

    quant = {value: spec.quant for value, spec in found.specs.items()}
    assert quant["left"] == quant["pooled"] == quant["joined"] == quant["right_pooled"]
    assert quant["right"] == quant["right_pooled"] == QuantParams((1 / 256,), (-128,))
    assert quant["sum"] == quant["flat"] != quant["joined"]


def test_a_constant_that_is_compared_has_the_parameters_of_the_result():
    """Maximum with a constant per channel: all three are on one scale, and the 8-bit graph follows the float one."""
    g, workspace = Builder("compared"), Workspace()
    image = g.input(INPUT, Spec((BATCH, 4, 4, 3)))
    floor = g.param("floor", Spec((3,)))
    workspace["floor"] = np.array([-0.5, 0.25, 1], np.float32)
    graph = g.build(g.add(Flatten(), g.add(Maximum(), image, floor, name="raised"), name=OUTPUT))
    pixels = RANDOM.integers(0, 256, (4, 4, 4, 3), np.uint8)
    images = ((pixels.astype(np.float32) - 128) / 32).astype(np.float32)
    ranges = calibrate(graph, workspace, [images])

    found, arrays = quantize_int8(graph, workspace, ranges, QuantParams((1 / 32,), (128,)))
    logits = Session(found, arrays, "cpu", 4).run({INPUT: pixels})[OUTPUT]

    quant = {value: spec.quant for value, spec in found.specs.items()}
    assert quant["floor"] == quant["raised"] == quant[f"{INPUT}.int8"]
    assert np.abs(logits - np.maximum(images, workspace["floor"]).reshape(4, -1)).max() <= 1 / 64


def test_what_lies_beyond_a_limit_takes_no_integers():
    """A minimum with limits of 1 and 2: steps reach to 2, not to the 8 before it; results are right to a step."""
    g, workspace = Builder("limited"), Workspace()
    image = g.input(INPUT, Spec((BATCH, 4, 4, 2)))
    limit = g.param("limit", Spec((2,)))
    workspace["limit"] = np.array([1, 2], np.float32)
    x = g.add(Add(), image, image, name="open")
    graph = g.build(g.add(Flatten(), g.add(Minimum(), x, limit, name="limited"), name=OUTPUT))
    pixels = RANDOM.integers(0, 256, (4, 4, 4, 2), np.uint8)
    images = ((pixels.astype(np.float32) - 128) / 32).astype(np.float32)
    ranges = calibrate(graph, workspace, [images])

    found, arrays = quantize_int8(graph, workspace, ranges, QuantParams((1 / 32,), (128,)))
    logits = Session(found, arrays, "cpu", 4).run({INPUT: pixels})[OUTPUT]

    (step,) = found.specs[Value("open")].quant.scale
    assert ranges[Value("open")].high > 7.5
    assert step == pytest.approx((2 - 2 * float(images.min())) / 255)
    assert np.abs(logits - np.minimum(2 * images, workspace["limit"]).reshape(4, -1)).max() <= 0.51 * step


def test_softmax_has_the_specified_output():
    """Steps of 1/256 from 0."""
    graph, workspace = two_branches(Softmax())
    ranges = calibrate(graph, workspace, [RANDOM.normal(0, 2, (4, 4, 4, 3)).astype(np.float32)])

    found, _ = quantize_int8(graph, workspace, ranges, QuantParams((1 / 32,), (128,)))

    (softmax,) = (node for node in found.nodes if isinstance(node.op, Softmax))
    assert found.specs[softmax.output].quant == QuantParams((1 / 256,), (-128,))


def test_an_operator_without_an_8_bit_form_is_named():
    """With the ways out."""
    graph, workspace = two_branches(Gelu())
    ranges = calibrate(graph, workspace, [RANDOM.normal(0, 2, (4, 4, 4, 3)).astype(np.float32)])

    with pytest.raises(ExportError, match=r"gelu.*dynamic"):
        quantize_int8(graph, workspace, ranges, QuantParams((1 / 32,), (128,)))


def test_calibration_sees_every_value_in_all_batches():
    """The smallest and the largest over batches of different sizes, by NumPy."""
    graph, workspace = two_branches()
    x = RANDOM.normal(0, 2, (5, 4, 4, 3)).astype(np.float32)

    ranges = calibrate(graph, workspace, [x[:2], x[2:4], x[4:]])

    assert set(ranges) == set(graph.specs)
    assert ranges[Value(INPUT)] == Range(float(x.min()), float(x.max()))
    assert ranges[Value("left")] == Range(0.0, float(x.max()))
    assert ranges[Value("right")].high == pytest.approx(1 / (1 + np.exp(-x.max())), rel=1e-5)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([], "no image"),
        ([np.zeros((1, 4, 4, 3), np.float32)], "equal"),
        ([np.full((1, 4, 4, 3), np.nan, np.float32)], "not a number"),
    ],
)
def test_photos_that_teach_nothing_are_refused(images, says):
    """No photo, a blank one, numbers that are none."""
    with pytest.raises(DataError, match=says):
        calibrate(*two_branches(), images)


@pytest.mark.parametrize(
    ("mean", "std", "wanted"),
    [
        ((127.0,) * 3, (128.0,) * 3, QuantParams((1 / 128,), (127,))),
        ((0.0,) * 3, (1.0,) * 3, QuantParams((1.0,), (0,))),
        ((127.5,) * 3, (127.5,) * 3, None),  # no whole pixel is zero
        ((123.0, 117.0, 104.0), (1.0,) * 3, None),  # one zero point for all channels
        ((0.0,) * 3, (1.0, 2.0, 3.0), None),
    ],
)
def test_pixels_as_they_are(mean, std, wanted):
    """Where scale · (pixel - zero point) is the normalisation, nothing is left to compute."""
    assert pixel_parameters(Preprocess((16, 16), mean=mean, std=std)) == wanted


def test_embedded_normalisation_takes_pixels(model):
    """The graph on raw pixels gives what the graph on normalised ones gave."""
    preprocess = Preprocess((16, 16), mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    graph, workspace = model.inference

    embedded = dataclasses.replace(model, preprocess=preprocess)
    changed, arrays, left = embed_normalisation(graph, workspace, preprocess)

    assert (left.mean, left.std) == ((0.0,) * 3, (1.0,) * 3)
    wanted = embedded.run(np.stack([preprocess(pixels) for pixels in PIXELS]))
    found = Session(changed, arrays, batch=8).run({INPUT: PIXELS.astype(np.float32)})[OUTPUT]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
