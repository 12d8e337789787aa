"""A sum becomes part of the convolution that computes one of its terms."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret

from edge_sdk.builder import Builder
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add, Sub
from edge_sdk.passes.fuse_addition import fuse_addition
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace


def program(convolutions=1, shortcut=(BATCH, 4, 4, 3), inner=None, bias=True):
    """A builder in float64, the results of convolutions of x, a shortcut, and their arrays."""
    g = Builder("net")
    x, other = g.input("x", Spec((BATCH, 4, 4, 3), "float64")), g.input("shortcut", Spec(shortcut, "float64"))
    random, arrays, results = np.random.default_rng(5), Workspace(), []
    for i in range(convolutions):
        arrays[f"w{i}"], arrays[f"b{i}"] = random.standard_normal((3, 1, 1, 3)), random.standard_normal(3)
        params = [g.param(name, Spec(arrays[name].shape, "float64")) for name in (f"w{i}", f"b{i}")[: 1 + bias]]
        results.append(g.add(Conv2D(activation=inner), x, *params))
    return g, results, other, arrays


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_sum_moves_into_the_convolution(swapped, activation):
    """Either term may be the convolution; one node with the very same numbers is left, under the public name."""
    g, (conv,), other, arrays = program()
    y = g.add(Add(activation), *((other, conv) if swapped else (conv, other)), name="y")
    graph = g.build(y)

    after, _ = fuse_addition(graph, arrays)

    assert [(node.op, node.inputs) for node in after.nodes] == [
        (Conv2D(activation=activation), ("x", "w0", "b0", "shortcut"))
    ]
    assert after.outputs == ("y",)
    feeds = feeds_for(graph)
    wanted = interpret(graph.bind(2), arrays, feeds)["y"]
    np.testing.assert_allclose(interpret(after.bind(2), arrays, feeds)["y"], wanted, rtol=1e-12, atol=1e-12)


def test_of_two_convolutions_the_later_takes_the_sum():
    """The end of a residual block with a projected shortcut."""
    g, (first, second), _, arrays = program(convolutions=2)
    graph = g.build(g.add(Add("relu"), second, first, name="y"))

    after, _ = fuse_addition(graph, arrays)

    assert [node.op.activation for node in after.nodes] == [None, "relu"]
    assert after.nodes[1].inputs == ("x", "w1", "b1", first)


def test_a_chain_of_sums_stays_in_order():
    """The second sum has no convolution of its own left."""
    g, (conv,), other, arrays = program()
    graph = g.build(g.add(Add(), g.add(Add(), conv, other), other, name="y"))

    after, _ = fuse_addition(graph, arrays)

    assert [node.op.name for node in after.nodes] == ["conv2d", "add"]


@pytest.mark.parametrize("kept", ["activation first", "no bias", "broadcast", "read elsewhere"])
def test_other_sums_stay(kept):
    """What the fused convolution would not compute."""
    g, (conv,), other, arrays = program(
        inner="relu" if kept == "activation first" else None,
        bias=kept != "no bias",
        shortcut=(3,) if kept == "broadcast" else (BATCH, 4, 4, 3),
    )
    y = g.add(Add(), conv, other)
    graph = g.build(g.add(Sub(), y, conv) if kept == "read elsewhere" else y)

    assert fuse_addition(graph, arrays)[0] == graph
