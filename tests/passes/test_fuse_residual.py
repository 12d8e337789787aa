"""The sum that ends a residual block becomes part of the batch norm before it, and leaves it again for inference."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret

from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.passes.fuse_residual import fuse_residual
from edge_sdk.passes.to_inference import to_inference
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace

SHAPE = (BATCH, 4, 4, 3)


def block(swapped=False, norms=1, activation=None, shape=SHAPE):
    """A builder in float64, the batch norms of x, the sum of them and a shortcut, and the arrays."""
    g = Builder("net")
    x, shortcut = g.input("x", Spec(SHAPE, "float64")), g.input("shortcut", Spec(shape, "float64"))
    random = np.random.default_rng(5)
    arrays, results = Workspace(), []
    for i in range(norms):
        params = [g.param(f"{name}{i}", Spec((3,), "float64")) for name in ("scale", "offset", "mean", "variance")]
        for param in params:
            arrays[str(param)] = random.uniform(0.5, 2, 3)
        results.append(g.add_multi(BatchNormTraining(), x, *params)[0])
    terms = [results[0], shortcut if norms == 1 else results[1]]
    return g, terms, g.add(Add(activation), *(terms[::-1] if swapped else terms), name="y"), arrays


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_sum_moves_into_the_batch_norm(swapped, activation):
    """Either term may be the batch norm; one node with the same numbers is left, under the public name."""
    g, _, y, arrays = block(swapped, activation=activation)
    graph = g.build(y)

    after, _ = fuse_residual(graph, arrays)

    assert [node.op for node in after.nodes] == [BatchNormTraining(activation=activation)]
    assert after.nodes[0].inputs[5] == "shortcut"
    assert after.outputs == ("y",)
    feeds = feeds_for(graph)
    wanted = interpret(graph.bind(2), arrays, feeds)["y"]
    np.testing.assert_allclose(interpret(after.bind(2), arrays, feeds)["y"], wanted, rtol=1e-12, atol=1e-12)


def test_of_two_batch_norms_one_takes_the_sum():
    """The end of a block with a projected shortcut: the other batch norm comes first and is its residual."""
    g, (_, other), y, arrays = block(norms=2)
    graph = g.build(y)

    after, _ = fuse_residual(graph, arrays)

    assert [node.op.name for node in after.nodes] == ["batch_norm_training", "batch_norm_training"]
    assert after.nodes[1].inputs[5] == other
    feeds = feeds_for(graph)
    wanted = interpret(graph.bind(2), arrays, feeds)["y"]
    np.testing.assert_allclose(interpret(after.bind(2), arrays, feeds)["y"], wanted, rtol=1e-12, atol=1e-12)


def test_a_number_that_is_read_elsewhere_stays():
    """The normalised value is an output too, or has a second reader."""
    g, terms, y, arrays = block()
    shown = g.build(y, terms[0])
    assert fuse_residual(shown, arrays)[0] == shown

    g, terms, y, arrays = block()
    read_twice = g.build(g.add(Add(), g.add(Relu(), terms[0]), y))
    assert any(len(node.inputs) == 5 for node in fuse_residual(read_twice, arrays)[0].nodes)
    assert [node.op.name for node in fuse_residual(read_twice, arrays)[0].nodes].count("add") == 2


def test_a_broadcast_sum_stays():
    """One number a channel is no residual."""
    g, _, y, arrays = block(shape=(3,))
    graph = g.build(y)

    assert fuse_residual(graph, arrays)[0] == graph


def test_to_inference_takes_the_sum_out_again():
    """Inference has its own way: a batch norm that can fold into the convolution before it, and a plain sum."""
    g, _, y, arrays = block(activation="relu")
    graph = g.build(y)

    after, _ = to_inference(fuse_residual(graph, arrays)[0], arrays)

    assert [node.op for node in after.nodes] == [BatchNorm(), Add("relu")]
    feeds = feeds_for(graph)
    wanted = interpret(to_inference(graph, arrays)[0].bind(2), arrays, feeds)["y"]
    np.testing.assert_array_equal(interpret(after.bind(2), arrays, feeds)["y"], wanted)
