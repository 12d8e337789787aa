"""A batch norm by constants becomes part of the layer before it, and only where that changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import interpret

from edge_sdk.builder import Builder
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.passes.fold_batch_norm import fold_batch_norm
from edge_sdk.passes.freeze import freeze
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace

LAYERS = {
    "conv2d": (Conv2D(padding="same"), (5, 5, 3), (4, 3, 3, 3), 4),
    "grouped conv2d": (Conv2D(groups=3), (5, 5, 3), (6, 2, 2, 1), 6),
    "conv_transpose2d": (ConvTranspose2D(groups=3), (5, 5, 3), (6, 2, 2, 1), 6),
    "depthwise_conv2d": (DepthwiseConv2D(stride=(2, 2)), (5, 5, 3), (1, 3, 3, 6), 6),
    "linear": (Linear(), (7,), (4, 7), 4),
}


class Net:
    """A builder with a workspace of random float64 parameters."""

    def __init__(self):
        self.g = Builder("net")
        self.workspace = Workspace()
        self.random = np.random.default_rng(0)

    def input(self, *shape):
        """The input x (n, …)."""
        return self.g.input("x", Spec((BATCH, *shape), "float64"))

    def param(self, name, *shape, low=-1.0, high=1.0):
        """A parameter of uniform numbers."""
        self.workspace[name] = self.random.uniform(low, high, shape)
        return self.g.param(name, Spec(shape, "float64"))

    def norm(self, x, name="norm", op=None):
        """A batch norm over the last axis of x."""
        channels = self.g.spec(x).shape[-1]
        parts = [self.param(f"{name}.{part}", channels) for part in ("scale", "offset", "mean")]
        variance = self.param(f"{name}.variance", channels, low=0.5, high=2.0)
        return self.g.add(op or BatchNorm(epsilon=1e-3), x, *parts, variance, name=name)


def kinds(graph):
    """The operators' names, in order."""
    return [node.op.name for node in graph.nodes]


def assert_same(before, after):
    """Both (graph, workspace) pairs give the same outputs, up to float64 roundings."""
    x = np.random.default_rng(3).standard_normal((2, *before[0].specs["x"].shape[1:]))
    wanted, found = (interpret(graph.bind(2), arrays, {"x": x}) for graph, arrays in (before, after))
    for value in before[0].outputs:
        np.testing.assert_allclose(found[value], wanted[value], rtol=1e-12, atol=1e-12)


@pytest.fixture
def net():
    """An empty network."""
    return Net()


@pytest.mark.parametrize("bias", [False, True], ids=["without bias", "with bias"])
@pytest.mark.parametrize(("op", "shape", "weight", "channels"), LAYERS.values(), ids=LAYERS)
def test_each_layer_takes_its_norm_in(net, op, shape, weight, channels, bias):
    """One node with a bias is left, and the norm's and the old weights are gone."""
    inputs = [net.input(*shape), net.param("w", *weight), *([net.param("b", channels)] if bias else [])]
    before = net.g.build(net.norm(net.g.add(op, *inputs), "y")), net.workspace

    after = fold_batch_norm(*before)

    assert kinds(after[0]) == [op.name]
    assert after[0].params == ("w.folded", "w.folded_bias")
    assert_same(before, after)


def test_the_folded_numbers_by_hand(net):
    """Of w = 2, b = 1, scale 3 / sqrt(3 + 1) = 1.5, mean 4, offset 5: weight 3, bias (1 - 4) · 1.5 + 5 = 0.5."""
    inputs = [net.input(1), net.param("w", 1, 1), net.param("b", 1)]
    graph = net.g.build(net.norm(net.g.add(Linear(), *inputs), op=BatchNorm(epsilon=1.0)))
    numbers = {"w": [[2.0]], "b": [1.0], "norm.scale": [3.0], "norm.offset": [5.0], "norm.mean": [4.0]}
    arrays = Workspace({k: np.array(v) for k, v in numbers.items()} | {"norm.variance": np.array([3.0])})

    _, folded = fold_batch_norm(graph, arrays)

    assert folded["w.folded"].tolist() == [[3.0]]
    assert folded["w.folded_bias"].tolist() == [0.5]


def test_the_norms_activation_becomes_the_layers(net):
    """A relu6 that was fused into the norm is not lost."""
    x = net.g.add(Conv2D(), net.input(3, 3, 2), net.param("w", 2, 1, 1, 2))
    before = net.g.build(net.norm(x, op=BatchNorm(activation="relu6"))), net.workspace

    after = fold_batch_norm(*before)

    assert [node.op.activation for node in after[0].nodes] == ["relu6"]
    assert_same(before, after)


def test_a_layer_that_is_activated_first_is_left(net):
    """norm(relu(conv)) is not relu(norm(conv))."""
    x = net.g.add(Conv2D(activation="relu"), net.input(3, 3, 2), net.param("w", 2, 1, 1, 2))
    graph = net.g.build(net.norm(x))

    assert fold_batch_norm(graph, net.workspace)[0] == graph


@pytest.mark.parametrize("other", ["node", "output"])
def test_a_layer_that_somebody_else_reads_is_left(net, other):
    """The number before the norm is still needed."""
    x = net.input(3, 3, 2)
    y = net.g.add(Conv2D(), x, net.param("w", 2, 1, 1, 2), name="y")
    z = net.norm(y)
    graph = net.g.build(z, y) if other == "output" else net.g.build(net.g.add(Add(), z, y))

    assert fold_batch_norm(graph, net.workspace)[0] == graph


def test_a_layer_whose_weights_are_computed_is_left(net):
    """There is no array to fold into."""
    weight = net.g.add(Add(), net.param("a", 2, 1, 1, 2), net.param("b", 2, 1, 1, 2))
    graph = net.g.build(net.norm(net.g.add(Conv2D(), net.input(3, 3, 2), weight)))

    assert fold_batch_norm(graph, net.workspace)[0] == graph


def test_statistics_that_the_graph_updates_are_left(net):
    """A norm whose mean changes from run to run is no constant."""
    y = net.norm(net.g.add(Conv2D(), net.input(3, 3, 2), net.param("w", 2, 1, 1, 2)))
    net.g.update("norm.mean", net.g.add(Add(), "norm.mean", net.param("step", 2)))
    graph = net.g.build(y)

    assert fold_batch_norm(graph, net.workspace)[0] == graph


def test_a_shared_weight_is_folded_for_each_user(net):
    """Two convolutions of one weight with different norms get a weight each."""
    x, w = net.input(3, 3, 2), net.param("w", 2, 1, 1, 2)
    left = net.norm(net.g.add(Conv2D(), x, w), "left")
    right = net.norm(net.g.add(Conv2D(), x, w), "right")
    before = net.g.build(left, right), net.workspace

    after = fold_batch_norm(*before)

    assert kinds(after[0]) == ["conv2d", "conv2d"]
    assert len(after[0].params) == len(set(after[0].params)) == 4
    assert_same(before, after)


def test_a_shared_weight_stays_for_the_user_that_needs_it(net):
    """A second convolution without norm keeps reading the old weight."""
    x, w = net.input(3, 3, 2), net.param("w", 2, 1, 1, 2)
    before = net.g.build(net.norm(net.g.add(Conv2D(), x, w)), net.g.add(Conv2D(), x, w, name="plain")), net.workspace

    after = fold_batch_norm(*before)

    assert after[1]["w"] is net.workspace["w"]
    assert_same(before, after)


def test_a_name_that_is_taken_is_not_taken_again(net):
    """A parameter, or a computed value, may be called as a folded weight would be."""
    x = net.g.add(Add(), net.input(3, 3, 2), net.param("w.folded", 2), name="w.folded_bias")
    before = net.g.build(net.norm(net.g.add(Conv2D(), x, net.param("w", 2, 1, 1, 2)))), net.workspace

    after = fold_batch_norm(*before)

    assert kinds(after[0]) == ["add", "conv2d"]
    assert_same(before, after)


def test_freeze_folds_only_layers_whose_every_parameter_is_frozen(net):
    """A trainable offset keeps its norm; the frozen layer before it loses its own."""
    x = net.norm(net.g.add(Conv2D(), net.input(3, 3, 2), net.param("w1", 2, 1, 1, 2)), "n1")
    y = net.norm(net.g.add(Conv2D(), x, net.param("w2", 2, 1, 1, 2)), "n2")
    before = net.g.build(y), net.workspace

    after = freeze(*before, frozen=set(net.workspace) - {"n2.offset"})

    assert kinds(after[0]) == ["conv2d", "conv2d", "batch_norm"]
    assert "w1" not in after[0].params
    assert after[1]["w2"] is net.workspace["w2"]
    assert_same(before, after)


def test_freeze_of_nothing_changes_nothing(net):
    """With no frozen name the graph is the same."""
    graph = net.g.build(net.norm(net.g.add(Conv2D(), net.input(3, 3, 2), net.param("w", 2, 1, 1, 2))))

    assert freeze(graph, net.workspace, frozen=())[0] == graph
