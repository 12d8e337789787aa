"""Where the gradients of two paths meet, the convolution that makes one adds the other."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.passes.fuse_gradient_sum import fuse_gradient_sum
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace

SHAPE = (BATCH, 4, 4, 3)


def block(shortcut: str, stride: tuple[int, int] = (1, 1)):
    """A residual block y = conv(x) + shortcut of relu(image) in float64, and the arrays."""
    g, random = Builder("net"), np.random.default_rng(5)
    image, arrays = g.input("image", Spec(SHAPE, "float64")), Workspace()
    weights = [g.param(f"w{i}", Spec((3, size, size, 3), "float64")) for i, size in enumerate((3, 1))]
    for weight in weights:
        arrays[weight] = random.standard_normal(g.spec(weight).shape)
    x = g.add(Relu(), image)
    y = g.add(Conv2D(stride, "same"), x, weights[0])
    other = x if shortcut == "identity" else g.add(Conv2D(stride, "same"), x, weights[1])
    return g, image, g.add(Add(), y, other), arrays


@pytest.mark.parametrize(
    ("shortcut", "stride"), [("identity", (1, 1)), ("convolution", (1, 1)), ("convolution", (2, 2))]
)
def test_the_sum_moves_into_the_convolution(shortcut, stride):
    """One of the convolutions on the way back is left with the sum in it, and the gradients are the same numbers."""
    g, image, y, arrays = block(shortcut, stride)
    seed = g.input("seed", g.spec(y))
    graph = g.build(y, *gradient(g, y, [image], seed))

    after, _ = fuse_gradient_sum(graph, arrays)

    names = [node.op.name for node in after.nodes]
    assert names.count("conv2d_grad_input_added") == 1
    assert names.count("conv2d_grad_input") == (shortcut == "convolution")
    assert names.count("add") == 1  # that of the forward graph
    feeds = feeds_for(graph)
    before, found = (interpret(one.bind(2), arrays, feeds) for one in (graph, after))
    for value in graph.outputs:
        np.testing.assert_allclose(found[value], before[value], rtol=1e-12, atol=1e-12)


def test_a_gradient_that_is_read_elsewhere_stays():
    """Where the convolution's own result is asked for too, the sum is a node of its own."""
    g, image, y, arrays = block("identity")
    seed = g.input("seed", g.spec(y))
    wanted = gradient(g, y, [image], seed)
    (own,) = (node.output for node in g.nodes if node.op.name == "conv2d_grad_input")
    graph = g.build(*wanted, own)

    after, _ = fuse_gradient_sum(graph, arrays)

    assert after.nodes == graph.nodes


def test_a_term_that_is_broadcast_stays():
    """A sum with a number a channel is no place where gradients meet."""
    g, image, y, arrays = block("identity")
    seed = g.input("seed", g.spec(y))
    gradient(g, y, [image], seed)
    (own,) = (node.output for node in g.nodes if node.op.name == "conv2d_grad_input")
    graph = g.build(g.add(Add(), own, g.input("row", Spec((3,), "float64"))))

    after, _ = fuse_gradient_sum(graph, arrays)

    assert after.nodes == graph.nodes
