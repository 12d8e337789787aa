"""Weights of keras.applications find their places in the zoo's networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError
from edge_sdk.passes.dead_code import prune
from edge_sdk.pretrained import keras_names
from edge_sdk.pretrained.foreign_weights import place_weights
from edge_sdk.pretrained.keras_names import KerasNetwork, keras_network
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.workspace import Workspace

# Trainable parameters of keras.applications with 1,000 classes (keras.io/api/applications, model.summary()).
PARAMETERS = {"vgg16": 138_357_544, "vgg19": 143_667_240, "resnet50": 25_583_592, "resnet101": 44_601_832,
              "resnet152": 60_268_520, "mobilenet_v1": 4_231_976, "mobilenetv2": 3_504_872}  # fmt: skip


def keras_state_of(network: KerasNetwork, graph, random) -> dict[str, Array]:
    """A state with every weight that Keras has, biases before norms among them, in PyTorch's layouts."""
    parts = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
    state = {}
    for parameter in graph.params:
        layer, _, part = parameter.rpartition(".")
        shape = graph.specs[parameter].shape
        if len(shape) == 4:
            shape = (shape[3], 1, *shape[1:3]) if shape[0] == 1 < shape[3] else (shape[0], shape[3], *shape[1:3])
        state[f"{network.layers[layer]}.{parts.get(part, part)}"] = random.uniform(0.1, 1, shape).astype(np.float32)
    for norm, convolution in network.biased.items():
        state[f"{convolution}.bias"] = random.uniform(-1, 1, state[f"{norm}.weight"].shape).astype(np.float32)
    return state


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_weight_of_keras_has_a_place(name):
    """As many numbers as keras.applications counts, and a name for every layer."""
    network = keras_network(name)
    size = (224, 224) if name.startswith("vgg") else (96, 64)
    graph, _ = network.architecture.build(1000, size, seed=0)

    state = keras_state_of(network, graph, np.random.default_rng(0)) if not name.startswith("vgg") else None

    assert {parameter.rpartition(".")[0] for parameter in graph.params} == set(network.layers)
    if state is None:
        assert sum(graph.specs[value].elements for value in graph.params) == PARAMETERS[name]
    else:
        counted = [array.size for key, array in state.items() if "running_" not in key]
        assert sum(counted) == PARAMETERS[name]


def test_biases_before_norms_and_another_epsilon_change_nothing():
    """The folded state gives what the layers compute one by one: convolution, bias, norm with Keras's ε."""
    network = keras_network("resnet50")
    graph, initial = network.architecture.build(3, (32, 32), seed=0)
    state = keras_state_of(network, graph, np.random.default_rng(1))

    folded = keras_names._ZooState(state, network)
    weights = place_weights(graph, initial, folded, network.layers, "file")

    convolution, norm = graph.nodes[:2]
    assert norm.op.name == "batch_norm"
    x = np.random.default_rng(2).uniform(0, 1, (1, 32, 32, 3)).astype(np.float32)
    results = {}
    for node in (convolution, norm):
        part = _part(graph, node.output)
        session = Session(part, weights.restricted(part), device="reference", batch=1)
        results[node] = session.run({"image": x})[node.output]
    y = results[convolution].astype(np.float64) + state["conv1_conv.bias"]
    scale = state["conv1_bn.weight"] / np.sqrt(state["conv1_bn.running_var"].astype(np.float64) + 1.001e-5)
    wanted = (y - state["conv1_bn.running_mean"]) * scale + state["conv1_bn.bias"]
    np.testing.assert_allclose(results[norm], wanted, rtol=1e-5, atol=1e-5)
    assert "conv1_conv.bias" not in folded
    assert len(folded) == len(list(folded)) == len(graph.params)


def _part(graph, output):
    """The program up to one of its values."""
    part = Builder.extend(graph).build(output)
    arrays = Workspace({name: np.zeros(graph.specs[name].shape, np.float32) for name in graph.params})
    return prune(part, arrays, outputs=(output,))[0]


def test_a_classifier_that_is_a_convolution_becomes_dense():
    """MobileNet's scores are made by 1×1 filters in Keras."""
    network = keras_network("mobilenet_v1_0_25")
    graph, initial = network.architecture.build(3, (32, 32), seed=0)
    state = keras_state_of(network, graph, np.random.default_rng(1))
    state["conv_preds.weight"] = state["conv_preds.weight"].reshape(3, 256, 1, 1)

    weights = place_weights(graph, initial, keras_names._ZooState(state, network), network.layers, "file")

    np.testing.assert_array_equal(weights["head.weight"], state["conv_preds.weight"][:, :, 0, 0])


def test_photos_are_fed_as_keras_does():
    """The two modes of preprocess_input."""
    for name in ("vgg16", "resnet50"):
        preprocess = keras_network(name).architecture.preprocess
        assert (preprocess.channels, preprocess.mean, preprocess.std) == ("bgr", (103.939, 116.779, 123.68), (1.0,) * 3)
    for name in ("mobilenet_v1", "mobilenetv2"):
        preprocess = keras_network(name).architecture.preprocess
        assert (preprocess.channels, preprocess.mean, preprocess.std) == ("rgb", (127.5,) * 3, (127.5,) * 3)


def test_an_unknown_network_is_refused(tmp_path: Path):
    """With those that are known."""
    with pytest.raises(UsageError, match="no weights of Keras are known for 'alexnet'"):
        keras_names.keras_checkpoint("alexnet", tmp_path / "file.h5")
