"""The float network that rounds where its integer graph stores: the same numbers, one parameter for a shared scale."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_networks import IMAGES, NETWORKS, NORMALISED, PIXELS, network
from tiny_models import SIDE, tiny_model

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import HardSigmoid, Sigmoid
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Mul
from edge_sdk.ops.fake_quantization import FakeQuantize
from edge_sdk.ops.pool import GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Concat
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.fake_quantization import fake_quantized, trained_candidate
from edge_sdk.quantization.integer_forms import integer_forms
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.session import Session
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace

ROUNDED = sorted(NETWORKS.keys() - {"aliases"})


def candidate_of(*layers: tuple, **scheme) -> Candidate:
    """A calibrated network of these layers."""
    graph, workspace = integer_forms(*network(*layers))
    bare = Candidate(graph, workspace, Preprocess((12, 12)), PIXELS, Scheme(**scheme))
    return observe(bare, [NORMALISED])


def every_value(graph: Graph, workspace: Workspace, x: Array) -> dict[str, Array]:
    """All that a graph computes of images."""
    watched = tuple(value for value in graph.specs if value not in graph.params and value not in graph.inputs)
    shown = Graph(graph.name, graph.inputs, graph.params, graph.nodes, watched, graph.specs)
    return {name: array.copy() for name, array in Session(shown, workspace, batch=len(x)).run({"image": x}).items()}


WIDE = {
    ("layer0", "layer1", "layer2"): {"activations": "int16"},
    ("layer1",): {"layers": {"layer1": "int16"}},
    ("layer0", "layer2"): {"activations": "int16", "layers": {"layer1": "int8"}},
}
"""Schemes of three layers, by those that have 16 bits."""
THREE = (
    (Conv2D((1, 1), "same", activation="relu"), (16, 3, 3, 8)),
    (Conv2D((1, 1), "same"), (8, 3, 3, 16)),
    (Conv2D((1, 1), "same"), (4, 1, 1, 8)),
)


@pytest.mark.parametrize("layers", WIDE, ids=str)
def test_values_of_16_bits_are_rounded_as_they_are_computed(layers):
    """Not as layers of 8 bits read them: each value's step is the one that it has where it is stored first."""
    candidate = candidate_of(*THREE, **WIDE[layers])
    quantized = fake_quantized(candidate)

    found = every_value(quantized.graph, quantized.workspace, NORMALISED)

    for value in ("layer0", "layer1", "layer2"):
        steps = found[value] / np.float64(candidate.activations[Value(value)].scale[0])
        np.testing.assert_allclose(steps, np.rint(steps), atol=2e-2)
        assert (np.abs(steps).max() > 1000) == (value in layers)


@pytest.mark.parametrize("layers", WIDE, ids=str)
def test_untrained_scales_of_16_bits_come_back(layers):
    """Learned scales that were not trained are the candidate's, of values that layers of 8 bits read too."""
    candidate = candidate_of(*THREE, **WIDE[layers])
    quantized = fake_quantized(candidate)

    back = trained_candidate(candidate, quantized, quantized.workspace)

    assert back.activations == candidate.activations


@pytest.mark.parametrize("learned", [False, True], ids=["given", "learned"])
@pytest.mark.parametrize("name", ROUNDED)
def test_every_value_is_that_of_the_integer_graph(name, learned):
    """On its grid, between its limits, and nearly everywhere the same number.

    Means at borders are products there, of a rounded mean of the whole window and a rounded share: a few steps apart.
    """
    candidate = candidate_of(*NETWORKS[name])
    quantized = fake_quantized(candidate, learned=learned)
    integer, arrays = integer_graph(candidate, "uint8", "float32")

    found = every_value(quantized.graph, quantized.workspace, NORMALISED)

    compared = 0
    for value, stored in every_value(integer, arrays, IMAGES).items():
        quant, mine = integer.specs[value].quant, value.removesuffix(".int8").removesuffix(".int16")
        if quant is None:
            continue
        rounded = found["image:rounded" if mine == "image" else mine]
        steps = rounded / np.float32(quant.scale[0])
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        difference = np.abs(np.rint(steps) + quant.zero_point[0] - stored)
        most, equal = (4, 0.4) if name == "means at borders" else (1, 0.75)
        assert difference.max() <= most
        assert np.mean(difference == 0) >= equal
        compared += 1
    assert compared == len(candidate.activations)


@pytest.mark.parametrize("learned", [False, True], ids=["given", "learned"])
def test_untrained_it_gives_the_candidate_back(learned):
    """The integer graph of what was not trained is that of the candidate, bit for bit."""
    candidate = candidate_of(*NETWORKS["padded"])
    quantized = fake_quantized(candidate, learned=learned)

    back = trained_candidate(candidate, quantized, quantized.workspace)

    (graph, arrays), (wanted, expected) = integer_graph(back), integer_graph(candidate)
    assert graph == wanted
    assert arrays.digest() == expected.digest()


def test_what_is_learned_decides_the_integer_graph():
    """Scales of weights and of all activations that share them, and the weights themselves."""
    layers = ((Conv2D((1, 1), "same", activation="relu"), (16, 3, 3, 8)), (MaxPool2D((2, 2), (2, 2)), None))
    candidate = candidate_of(*layers)
    quantized = fake_quantized(candidate)
    arrays = quantized.workspace.copy()
    conv, pool, weight = Value("layer0"), Value("layer1"), Value("w0")
    assert quantized.scales[conv] == quantized.scales[pool]
    arrays[quantized.scales[conv].parameter] = np.array(-0.5, np.float32)
    arrays[quantized.scales[weight].parameter] = np.full(16, 0.25, np.float32)
    arrays[weight] = np.full_like(arrays[weight], 0.75)

    graph, stored = integer_graph(trained_candidate(candidate, quantized, arrays))

    assert graph.specs[conv].quant.scale == graph.specs[pool].quant.scale == (0.5,)
    assert graph.specs[weight].quant.scale == (0.25,) * 16
    assert (stored[weight] == 3).all()


def test_joined_values_share_a_scale_and_fixed_ones_are_not_learned():
    """A pool and both sides of a concatenation have one parameter; the photo and a sigmoid's result have none."""
    layers = ((Conv2D(), (4, 1, 1, 8)), (Concat(3), None), (MaxPool2D((2, 2), (2, 2)), None), (Sigmoid(), None))
    quantized = fake_quantized(candidate_of(*layers))

    parameters = {name: scale.parameter for name, scale in quantized.scales.items()}

    assert parameters["layer0"] == parameters["layer1"] == parameters["layer2"]
    assert not {"image", "layer3"} & parameters.keys()
    assert set(parameters.values()) <= set(quantized.trained)


def test_constants_and_the_normalisation_do_not_train():
    """Only weights, biases and scales of the network's own layers do."""
    gates = fake_quantized(candidate_of((Conv2D(), (8, 1, 1, 8)), (HardSigmoid(), None)), learned=False)
    model = tiny_model()
    model = model.replace(preprocess=dataclasses.replace(model.preprocess, mean=(120.0, 110.0, 100.0)))
    photos = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.float32)

    embedded = fake_quantized(observe(prepare(model), [photos]))

    assert set(gates.trained) == {"w0", "b0", "head.weight", "head.bias"}
    assert "image.normalised.weight" in embedded.graph.params
    assert not {"image.normalised.weight", "image.normalised.bias"} & set(embedded.trained)


def test_a_layer_on_real_numbers_is_not_rounded():
    """Its weights stay; what integers read of it is rounded, as in the integer graph."""
    layers = ((Conv2D(), (8, 1, 1, 8)), (Conv2D(), (8, 1, 1, 8)), (GlobalAvgPool(), None))
    candidate = candidate_of(*layers, layers={Value("layer0"): "float32"})
    quantized = fake_quantized(candidate)
    graph, arrays = integer_graph(candidate)

    found = Session(quantized.graph, quantized.workspace, batch=16).run({"image": NORMALISED})["logits"]

    assert "w0" not in quantized.scales
    assert "w1" in quantized.scales
    wanted = Session(graph, arrays, batch=16).run({"image": IMAGES})["logits"]
    assert np.abs(found - wanted).max() <= 1.01 * candidate.activations[Value("logits")].scale[0]


def test_gradients_pass_through_and_reach_the_scale():
    """By autodiff, the closed forms of Jacob et al. 2018 and Esser et al. 2020."""
    g = Builder("check")
    x, scale, zero = g.input("x", Spec((5,))), g.input("s", Spec(())), g.input("z", Spec((), "int32"))
    dy = g.input("dy", Spec((5,)))
    y = g.add(FakeQuantize(-4, 3, learned=True, slope=0.5), x, scale, zero)
    dx, dscale = gradient(g, g.add(ReduceSum((0,)), g.add(Mul(), y, dy)), [x, scale])
    feeds = {
        "x": np.array([-3.0, -0.3, 0.2, 0.6, 9.0], np.float32),
        "s": np.array(0.5, np.float32),
        "z": np.array(1, np.int32),
        "dy": np.array([1.0, 2.0, 3.0, 4.0, 5.0], np.float32),
    }

    found = Session(g.build(dx, dscale), Workspace()).run(feeds)

    np.testing.assert_array_equal(found[dx], [0, 2, 3, 4, 0])
    # Steps -5 … 2: -5, round(-0.6) + 0.6, 0 - 0.4, 1 - 1.2, 2.
    wanted = 0.5 * (1 * -5 + 2 * (-1 + 0.6) + 3 * -0.4 + 4 * (1 - 1.2) + 5 * 2)
    np.testing.assert_allclose(found[dscale], wanted, rtol=1e-5)
