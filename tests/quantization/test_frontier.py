"""The frontier: what it hands out is what the whole graph computes, also while weights further on still change."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import NORMALISED, PIXELS, network

from edge_sdk.errors import DataError
from edge_sdk.graph import Graph
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.frontier import KEPT_BYTES, Frontier
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

PREPROCESS = Preprocess((12, 12), mean=(128.0,) * 3, std=(64.0,) * 3)
IMAGES = [NORMALISED[:6], NORMALISED[6:12], NORMALISED[12:]]  # two of a size, and a smaller rest
LAYERS = (
    (Conv2D(activation="relu"), (16, 3, 3, 8)),
    (DepthwiseConv2D(padding="same", activation="relu6"), (1, 3, 3, 16)),
    (Add("relu"), None),
    (Conv2D(), (12, 1, 1, 16)),
)
WEIGHTS = {"layer0": "w0", "layer1": "w1", "layer3": "w3", "logits.int8": "head.weight"}
STORED = tuple(map(Value, WEIGHTS))


@pytest.fixture
def integers() -> tuple[Graph, Workspace]:
    """Convolution, depthwise convolution, a sum and a classifier on integers."""
    return integer_graph(observe(Candidate(*network(*LAYERS), PREPROCESS, PIXELS), IMAGES), "float32")


@pytest.mark.parametrize("most", [0, 20_000, KEPT_BYTES])
def test_it_makes_what_the_whole_graph_makes(integers, most):
    """Layer after layer, each changed once the frontier stands before it; room for nothing, some and all values."""
    graph, arrays = integers
    frontier = Frontier(graph, IMAGES, most)

    for value in STORED:
        node = graph.producers[value]
        frontier.advance(arrays, node.inputs[0])
        arrays[node.inputs[1]] = -arrays[node.inputs[1]]
        found = list(frontier.outputs(arrays, [node.inputs[0], value]))

        wanted = list(outputs_of(graph, arrays, [node.inputs[0], value], IMAGES))
        assert [len(batch[value]) for batch in found] == [6, 6, 4]
        for one, other in zip(found, wanted, strict=True):
            for name in (node.inputs[0], value):
                np.testing.assert_array_equal(one[name], other[name])


def test_what_was_passed_is_not_run_again(integers):
    """Weights that change behind the frontier have no effect, and they have where nothing may be kept."""
    graph, arrays = integers
    kept, forgetful = Frontier(graph, IMAGES), Frontier(graph, IMAGES, most=0)
    before = next(kept.outputs(arrays, [Value("layer3")]))[Value("layer3")]
    for frontier in (kept, forgetful):
        frontier.advance(arrays, Value("layer2"))

    arrays["w0"] = -arrays["w0"]

    found, changed = (next(one.outputs(arrays, [Value("layer3")]))[Value("layer3")] for one in (kept, forgetful))
    np.testing.assert_array_equal(found, before)
    assert not np.array_equal(changed, before)


def test_no_image_is_said(integers):
    """There is nothing to run."""
    with pytest.raises(DataError, match="no image"):
        Frontier(integers[0], [])
