"""Operators without an 8-bit form: rewritten to the same function, or left on real numbers and said so."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.integer_forms import integer_forms
from edge_sdk.quantization.post_training import quantize
from edge_sdk.session import Session
from edge_sdk.workspace import Workspace

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (8, 16, 16, 3), np.uint8)
SIDE = (16, 16)


def gated() -> tuple[Graph, Workspace]:
    """A pooled image normalised and activated with no convolution before it, channels gated, a head."""
    net = Network("gated", (*SIDE, 3))
    x = net.conv(net.image, 16, 3, "conv")
    x = net.activation(net.batch_norm(net.max_pool(x, 2, 2), "norm"), "relu")
    x = net.squeeze_and_excite(x, 8, "gate")
    graph, workspace = net.head(net.global_average_pool(x), 4)
    for name, array in workspace.items():
        if name.startswith("norm") or name.endswith("bias"):
            workspace[name] = (RANDOM.uniform(0.5, 1.5, array.shape) * (1 if "variance" in name else 0.7)).astype("f4")
    workspace["head.weight"] = RANDOM.standard_normal((4, 16)).astype("f4")
    return graph, workspace


def normalised_responses() -> tuple[Graph, Workspace]:
    """A convolution, a response norm that divides by up to 4, a head."""
    net = Network("responses", (*SIDE, 3))
    x = net.activation(net.conv(net.image, 8, 3, "conv"), "relu")
    x = net.local_response_norm(x, 5, 2.0, 0.75)
    graph, workspace = net.head(net.global_average_pool(x), 4)
    workspace["head.weight"] = RANDOM.standard_normal((4, 8)).astype("f4")
    return graph, workspace


def model_of(made: tuple[Graph, Workspace]) -> Model:
    """A classifier of photos of the usual range."""
    preprocess = Preprocess(SIDE, mean=(127.0,) * 3, std=(64.0,) * 3)
    return Model(*made, preprocess, ("a", "b", "c", "d"))


def kinds(graph: Graph) -> set[str]:
    """The operators of a graph."""
    return {node.op.name for node in graph.nodes}


def test_the_function_stays():
    """Hard sigmoid as a sum and a product, batch norm as a depthwise convolution: the same logits."""
    graph, arrays = run_pipeline("inference", *gated())
    x = RANDOM.standard_normal((3, *SIDE, 3), np.float32)
    wanted = Session(graph, arrays, batch=3).run({"image": x})["logits"]

    changed, others = integer_forms(graph, arrays)
    logits = Session(changed, others, batch=3).run({"image": x})["logits"]

    assert {"hard_sigmoid", "batch_norm"} <= kinds(graph)
    assert not {"hard_sigmoid", "batch_norm"} & kinds(changed)
    assert set(others) == set(changed.params)
    np.testing.assert_allclose(logits, wanted, atol=1e-5 * np.abs(wanted).max())


def test_other_graphs_are_returned_as_they_are():
    """Nothing is copied where nothing is to be done."""
    graph, arrays = run_pipeline("inference", *normalised_responses())

    changed, others = integer_forms(graph, arrays)

    assert changed is graph
    assert others is arrays


@pytest.mark.parametrize("made", [gated, normalised_responses])
def test_8_bit_logits_are_near(made):
    """Within 4 % of the largest logit, on the photos that it was calibrated on."""
    model = model_of(made())
    images = np.stack([model.preprocess(pixels) for pixels in PIXELS])
    wanted = model.run(images)

    logits = quantize(model, PIXELS).run(images)

    assert np.abs(logits - wanted).max() <= 0.04 * np.abs(wanted).max()


def test_response_norms_are_the_only_floats():
    """They are computed between a dequantize and a quantize."""
    graph = quantize(model_of(normalised_responses()), PIXELS).graph

    floats = [value for value, spec in graph.specs.items() if spec.dtype == "float32" and value not in graph.outputs]
    at = next(index for index, node in enumerate(graph.nodes) if node.op.name == "local_response_norm")

    assert floats == ["local_response_norm.real_input", "local_response_norm.real"]
    assert [node.op.name for node in graph.nodes[at - 1 : at + 2]] == ["dequantize", "local_response_norm", "quantize"]
