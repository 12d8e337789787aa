"""A candidate on its way to integers: observed, decided about, rewritten, and run by the mobile runtime."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import ExportError, UsageError
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.ops.activation import Relu, Sigmoid, Softmax, Tanh
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import MaxPool2D
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.shape import Concat, Flatten
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.observer_search import by_every_observer, logit_error, search_observer
from edge_sdk.quantization.observers import OBSERVERS
from edge_sdk.quantization.parameters import weight_parameters
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.quantization.weight_scales import least_square_error, weights_by_mse
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

PIXELS = np.random.default_rng(0).integers(0, 256, (10, SIDE, SIDE, 3), np.uint8)
LOGITS = Value(OUTPUT)


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network."""
    return tiny_model()


@pytest.fixture(scope="module")
def images(model) -> CalibrationImages:
    """Photos for it."""
    return CalibrationImages.of(PIXELS, model.labels, model.preprocess)


def layers_of(model: Model) -> list[Value]:
    """The first output of each node."""
    return [node.outputs[0] for node in prepare(model).graph.nodes]


def in_the_runtime(candidate: Candidate, input_type="uint8", output_type="float32", pixels=PIXELS):
    """The writer's report, the logits of the file in the mobile runtime and those of the Session."""
    graph, workspace = integer_graph(candidate, input_type, output_type)
    written = write(graph, workspace)
    rule = candidate.preprocess
    x = pixels if input_type == "uint8" else np.stack([rule(one) for one in pixels])
    (found,) = TFLiteModel(written.data, "written").invoke({INPUT: x}).values()
    return written.report, found, Session(graph, workspace, batch=len(x)).run({INPUT: x})[OUTPUT]


def test_calibration_images_are_the_same_each_time(model, images):
    """In batches of eight and the rest."""
    first, second = list(images), list(images)

    assert [len(batch) for batch in first] == [8, 2]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first[0][0], model.preprocess(PIXELS[0]))


def test_images_are_gone_through_once(model, images):
    """A generator will do."""
    found = observe(prepare(model), (batch for batch in images))

    assert found.activations == observe(prepare(model), images).activations


def test_nothing_is_written_before_ranges_are_known(model):
    """The error says what to call."""
    with pytest.raises(UsageError, match="observe"):
        integer_graph(prepare(model))


@pytest.mark.parametrize("name", OBSERVERS)
def test_every_observer_makes_a_file_that_the_runtime_computes_as_we_do(name, model, images):
    """Bit for bit, and near the float network."""
    candidate = observe(prepare(model, scheme=Scheme(observer=name)), images)

    report, found, ours = in_the_runtime(candidate)

    assert report.float_tensors == ()
    np.testing.assert_array_equal(found, ours)
    wanted = model.run(np.concatenate(list(images)))
    assert np.abs(found - wanted).max() < 0.2 * np.ptp(wanted)


@pytest.mark.parametrize("name", OBSERVERS)
def test_groups_of_the_specification_hold_for_every_observer(name, images):
    """A pool, a concat and a flatten have one scale; outputs of sigmoid, softmax and tanh are fixed."""
    g = Builder("groups")
    image = g.input(INPUT, Spec((BATCH, SIDE, SIDE, 3)))
    pooled = g.add(MaxPool2D((8, 8), (8, 8)), g.add(Relu(), image, name="above"), name="pooled")
    doubled = g.add(Add(), pooled, pooled, name="doubled")
    joined = g.add(Concat(3), pooled, doubled, name="joined")
    x = g.add(Tanh(), g.add(Sigmoid(), joined, name="sigmoid"), name="tanh")
    graph = g.build(g.add(Softmax(), g.add(Flatten(), x, name="flat"), name=OUTPUT))
    candidate = Candidate(graph, Workspace(), Preprocess((SIDE, SIDE)), QuantParams((1 / 128,), (127,)))

    found = observe(candidate_with(candidate, Scheme(observer=name)), images)

    quant = {str(value): parameters for value, parameters in found.activations.items()}
    assert quant["above"] == quant["pooled"] == quant["joined"] == quant["doubled"] != quant[INPUT]
    assert quant["sigmoid"] == quant[OUTPUT] == QuantParams((1 / 256,), (-128,))
    assert quant["tanh"] == quant["flat"] == QuantParams((1 / 128,), (0,))
    report, logits, ours = in_the_runtime(found)
    assert report.operators["QUANTIZE"] == 1
    assert np.abs(logits - ours).max() <= 2 / 256
    changed = dataclasses.replace(found, activations={**found.activations, Value("tanh"): QuantParams((0.1,), (0,))})
    with pytest.raises(ExportError, match=r"tanh.*0\.0078125"):
        integer_graph(changed)


def test_decided_scales_that_differ_are_rescaled_between(model, images):
    """Where a step gave the ends of a pool two scales, its input is rounded to the one of its output."""
    g = Builder("pooled")
    image = g.input(INPUT, Spec((BATCH, SIDE, SIDE, 3)))
    x = g.add(MaxPool2D((2, 2), (2, 2)), g.add(Relu(), image, name="above"), name="pooled")
    graph = g.build(g.add(Flatten(), x, name=OUTPUT))
    candidate = Candidate(graph, Workspace(), Preprocess((SIDE, SIDE)), QuantParams((1 / 128,), (127,)))
    activations = dict(observe(candidate, images).activations)
    activations[Value("pooled")] = activations[LOGITS] = QuantParams((1 / 200,), (-128,))

    report, found, ours = in_the_runtime(dataclasses.replace(candidate, activations=activations))

    assert report.operators["QUANTIZE"] == 2
    wanted = Session(graph, Workspace(), batch=10).run({INPUT: np.concatenate([*images])})[OUTPUT]
    np.testing.assert_array_equal(found, ours)
    assert np.abs(found - wanted).max() <= 1 / 128


def test_the_search_takes_the_observer_with_the_smallest_error(model, images):
    """The winner's logits are no worse than anyone else's."""
    candidate = prepare(model)

    found = search_observer(candidate, images)

    errors = {one.scheme.observer: logit_error(one, images) for one in by_every_observer(candidate, images)}
    assert set(errors) == set(OBSERVERS)
    assert errors[found.scheme.observer] == min(errors.values())
    assert found.activations == observe(candidate_with(candidate, found.scheme), images).activations


def candidate_with(candidate: Candidate, scheme: Scheme) -> Candidate:
    """The same network under another scheme."""
    return dataclasses.replace(candidate, scheme=scheme)


def test_the_search_leaves_an_outlier_out():
    """A network whose one channel is 500 on one pixel of one photo: anything but the extremes is better."""
    g, workspace = Builder("outlier"), Workspace()
    image = g.input(INPUT, Spec((BATCH, 16, 16, 1)))
    w, dense = g.param("w", Spec((4, 1, 1, 1))), g.param("dense", Spec((3, 1024)))
    workspace["w"] = np.array([1, -1, 0.5, 2], np.float32).reshape(4, 1, 1, 1)
    workspace["dense"] = np.random.default_rng(0).normal(0, 1, (3, 1024)).astype(np.float32)
    x = g.add(Flatten(), g.add(Conv2D(), image, w, name="wide"), name="flat")
    graph = g.build(g.add(Linear(), x, dense, name=OUTPUT))
    x = np.random.default_rng(1).normal(0, 1, (256, 16, 16, 1)).astype(np.float32)
    x[0, 0, 0, 0] = 500
    candidate = Candidate(graph, workspace, Preprocess((16, 16)), None)

    found = search_observer(candidate, [x[1:], x[:1]], score=lambda one, batches: logit_error(one, batches[:1]))

    assert found.scheme.observer != "min-max"
    assert found.activations[Value("wide")].scale[0] < 100 / 255


@pytest.mark.parametrize("output_type", ["float32", "uint8"])
@pytest.mark.parametrize("input_type", ["float32", "uint8"])
@pytest.mark.parametrize("which", ["first", "last", "all", "middle", "all but one"])
def test_layers_on_real_numbers(which, input_type, output_type, model, images):
    """Islands of float32 in the file, computed by the runtime as by the Session; the report names what is float."""
    layers = layers_of(model)
    middle = layers[len(layers) // 2]
    chosen = {
        "first": layers[:1],
        "last": layers[-1:],
        "all": layers,
        "middle": [middle],
        "all but one": [layer for layer in layers if layer != middle],
    }[which]
    scheme = Scheme(layers=dict.fromkeys(chosen, "float32"))
    candidate = observe(prepare(model, scheme=scheme), images)

    report, found, ours = in_the_runtime(candidate, input_type, output_type)

    inner = [layer for layer in chosen if layer != LOGITS]
    integers = any(
        tensor.quant is not None for tensor in integer_graph(candidate, input_type, output_type)[0].specs.values()
    )
    assert not integers or all(any(name.startswith(layer) for name in report.float_tensors) for layer in inner)
    if output_type == "uint8":
        assert np.abs(found.astype(int) - ours).max() <= 1
    else:
        wanted = model.run(np.concatenate(list(images)))
        # Roundings inside may fall the other way where floats are summed in another order: one step of an activation.
        assert np.abs(found - ours).max() <= 0.02 * np.ptp(wanted)
        assert np.abs(found - wanted).max() < 0.08 * np.ptp(wanted)


def test_neighbours_on_real_numbers_share_an_island(model, images):
    """All layers on real numbers: one way in, none out, and the float network's logits to the rounding of pixels."""
    scheme = Scheme(layers=dict.fromkeys(layers_of(model), "float32"))
    candidate = observe(prepare(model, scheme=scheme), images)

    graph, workspace = integer_graph(candidate)

    assert sum(isinstance(node.op, Quantize | Dequantize) for node in graph.nodes) == 2
    found = Session(graph, workspace, batch=10).run({INPUT: PIXELS})[OUTPUT]
    np.testing.assert_allclose(found, model.run(np.concatenate(list(images))), rtol=1e-4, atol=1e-5)


def test_a_layer_on_real_numbers_is_free_of_the_group_it_was_in(images):
    """A pool that computes on real numbers shares no scale with what goes in: its input is rounded, its output anew."""
    g = Builder("pooled")
    image = g.input(INPUT, Spec((BATCH, SIDE, SIDE, 3)))
    x = g.add(MaxPool2D((2, 2), (2, 2)), g.add(Relu(), image, name="above"), name="pooled")
    graph = g.build(g.add(Flatten(), x, name=OUTPUT))
    scheme = Scheme(layers={Value("pooled"): "float32"})
    candidate = Candidate(graph, Workspace(), Preprocess((SIDE, SIDE)), QuantParams((1 / 128,), (127,)), scheme)

    observed = observe(candidate, images)

    assert observed.activations[LOGITS] == observed.activations[Value("pooled")]
    assert observed.activations[Value("above")].zero_point == (-128,)
    report, found, ours = in_the_runtime(observed)
    assert report.operators["QUANTIZE"] == report.operators["DEQUANTIZE"] == 2
    np.testing.assert_array_equal(found, ours)


def test_a_layer_that_is_not_there_gets_a_suggestion(model):
    """Before any photo is looked at."""
    wrong = Value(layers_of(model)[0][:-1])

    with pytest.raises(UsageError, match=layers_of(model)[0]):
        prepare(model, scheme=Scheme(layers={wrong: "float32"}))


def test_a_precision_that_is_none_gets_a_suggestion():
    """float23."""
    with pytest.raises(UsageError, match="float32"):
        Scheme(layers={LOGITS: "float23"})


@pytest.mark.parametrize(
    "scheme",
    [Scheme(symmetric=True), Scheme(per_channel=False), Scheme(dense_per_channel=True)],
    ids=["symmetric", "one-weight-scale", "dense-per-channel"],
)
def test_schemes_in_the_runtime(scheme, model, images):
    """Files of every scheme are computed by the runtime as by the Session, near the float network."""
    candidate = observe(prepare(model, scheme=scheme), images)

    report, found, ours = in_the_runtime(candidate)

    np.testing.assert_array_equal(found, ours)
    wanted = model.run(np.concatenate(list(images)))
    assert np.abs(found - wanted).max() < 0.15 * np.ptp(wanted)
    assert report.float_tensors == ()


def test_symmetric_activations_have_the_zero_point_0(model, images):
    """All but the pixels, whose parameters are what pixels mean."""
    activations = dict(observe(prepare(model, scheme=Scheme(symmetric=True)), images).activations)

    assert activations.pop(Value(INPUT)).zero_point == (-1,)
    assert {quant.zero_point for quant in activations.values()} == {(0,)}


def test_weight_scales_follow_the_scheme(model, images):
    """One a tensor, one a channel, and dense layers as they are asked for; dense ones need runtime 2.17."""
    axes = {}
    for scheme in (Scheme(), Scheme(per_channel=False), Scheme(dense_per_channel=True)):
        graph, workspace = integer_graph(observe(prepare(model, scheme=scheme), images))
        weights = {type(n.op): graph.specs[n.inputs[1]].quant.axis for n in graph.nodes if len(n.inputs) == 3}
        axes[scheme.per_channel, scheme.dense_per_channel] = weights[Conv2D], weights[Linear]
        oldest = write(graph, workspace).report.minimum_runtime

    assert axes == {(True, False): (0, None), (False, False): (None, None), (True, True): (0, 0)}
    assert tuple(map(int, oldest.split(".")[:2])) >= (2, 17)


def test_decided_weights_are_those_that_are_stored(model, images):
    """Scales and integers of a candidate override the largest magnitude and the nearest integer; biases follow."""
    candidate = observe(prepare(model), images)
    node = next(node for node in candidate.graph.nodes if isinstance(node.op, Conv2D))
    value = node.inputs[1]
    scales = tuple(2 * scale for scale in weight_parameters(candidate.workspace[value], 0).scale)
    quant = QuantParams(scales, (0,) * len(scales), 0)
    rounded = np.full(candidate.workspace[value].shape, 3, np.int8)

    changed = dataclasses.replace(candidate, weight_parameters={value: quant}, rounded={value: rounded})
    graph, workspace = integer_graph(changed)

    assert graph.specs[value].quant == quant
    np.testing.assert_array_equal(workspace[value], rounded)
    bias, wanted = graph.specs[node.inputs[2]].quant, candidate.activations[node.inputs[0]].scale[0]
    np.testing.assert_allclose(bias.scale, np.array(scales) * wanted, rtol=1e-6)


def test_weight_scales_by_mean_square_error():
    """Two channels, one of them with an outlier, against trying 500 scales; a channel of zeros keeps its scale."""
    weights = np.random.default_rng(5).normal(0, 1, (3, 1, 1, 40_000)).astype(np.float32)
    weights[0, 0, 0, 0], weights[2] = 16, 0

    found = least_square_error(weights, 0)

    def error(channel: int, scale: float) -> float:
        w = weights[channel].astype(np.float64)
        return float(((np.clip(np.round(w / scale), -127, 127) * scale - w) ** 2).sum())

    covering = weight_parameters(weights, 0)
    for channel in range(2):
        tried = covering.scale[channel] * np.linspace(0.4, 1, 10_000)
        assert error(channel, found.scale[channel]) <= 1.02 * min(error(channel, scale) for scale in tried[::20])
    assert found.scale[0] < 0.9 * covering.scale[0]
    assert found.scale[2] == covering.scale[2]


def test_weights_by_mse_decides_every_weight_but_rounded_ones(model, images):
    """And the file is still right."""
    candidate = observe(prepare(model), images)
    weights = [node.inputs[1] for node in candidate.graph.nodes if len(node.inputs) == 3]
    kept = dataclasses.replace(candidate, rounded={weights[0]: np.zeros(1, np.int8)})

    found = weights_by_mse(candidate)

    assert set(found.weight_parameters) == set(weights)
    assert set(weights_by_mse(kept).weight_parameters) == set(weights[1:])
    _, logits, ours = in_the_runtime(found)
    np.testing.assert_array_equal(logits, ours)


def test_a_data_set_can_be_calibrated_on(model):
    """Any data set, in batches of any size."""
    dataset = ArrayDataset.of(PIXELS, np.full(10, -1), model.labels)

    found = observe(prepare(model), CalibrationImages(dataset, model.preprocess, 3))

    assert found.activations == observe(prepare(model), CalibrationImages(dataset, model.preprocess, 10)).activations
