"""Convolutions that gather the statistics of the batch norm behind them: the same training in one pass less."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret
from tiny_models import SIDE, tiny_model

from edge_sdk.builder import Builder
from edge_sdk.kernel import applicable_kernels, find_kernel, load_device
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.norm import BatchNormTraining
from edge_sdk.ops.statistics import BatchNormTrainingGathered, Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.passes import pipelines
from edge_sdk.passes.gather_statistics import gather_statistics
from edge_sdk.passes.to_inference import to_inference
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step
from edge_sdk.workspace import Workspace

GEOMETRY = {"stride": (2, 1), "padding": ((1, 0), (1, 1))}
PLAIN = [
    pytest.param(Conv2D(**GEOMETRY, groups=2), (6, 3, 3, 2), Conv2DStatistics(**GEOMETRY, groups=2), id="conv2d"),
    pytest.param(DepthwiseConv2D(**GEOMETRY), (1, 3, 3, 4), DepthwiseConv2DStatistics(**GEOMETRY), id="depthwise"),
]


class Program:
    """A convolution of x in float64 and batch norms behind it."""

    def __init__(self, op, shape, bias=True):
        self.g, self.arrays = Builder("net"), Workspace()
        self.random = np.random.default_rng(1)
        self.channels = shape[3] if isinstance(op, DepthwiseConv2D) else shape[0]
        self.x = self.g.input("x", Spec((BATCH, 7, 6, 4), "float64"))
        inputs = [self.x, self.param("w", shape), *([self.param("b", (self.channels,))] if bias else [])]
        self.y = self.g.add(op, *inputs, name="y")

    def param(self, name, shape):
        self.arrays[name] = self.random.uniform(0.5, 2, shape)
        return self.g.param(name, Spec(shape, "float64"))

    def norm(self, x, name, *rest, **attributes):
        own = [self.param(f"{name}.{i}", (self.channels,)) for i in range(4)]
        return self.g.add_multi(BatchNormTraining(**attributes), x, *own, *rest, name=name)


@pytest.mark.parametrize(("op", "shape", "gathering"), PLAIN)
def test_the_convolution_gathers_and_the_norm_only_normalises(op, shape, gathering):
    """One value more, all numbers the same, and the printed program says so."""
    net = Program(op, shape)
    z = net.norm(net.y, "z", net.y, epsilon=1e-3, momentum=0.3, activation="relu")
    graph = net.g.build(*z)

    after, _ = gather_statistics(graph, net.arrays)

    conv, norm = after.nodes
    assert (conv.op, conv.outputs) == (gathering, ("y", "y:statistics"))
    assert norm.op == BatchNormTrainingGathered(1e-3, 0.3, "relu")
    assert (norm.inputs[0], *norm.inputs[5:]) == ("y", "y:statistics", "y")
    assert "y:statistics" in str(after)
    feeds = feeds_for(graph)
    wanted, found = (interpret(one.bind(2), net.arrays, feeds) for one in (graph, after))
    for value in z:
        np.testing.assert_allclose(found[value], wanted[value], rtol=1e-12, atol=1e-12)


def test_two_norms_share_the_statistics_of_one_convolution():
    """The result may have other readers, and be an output."""
    net = Program(Conv2D(), (5, 1, 1, 4), bias=False)
    first, second = net.norm(net.y, "first")[0], net.norm(net.y, "second")[0]
    graph = net.g.build(net.g.add(Add(), first, net.g.add(Relu(), net.y)), second, net.y)

    after, _ = gather_statistics(graph, net.arrays)

    assert [node.op.name for node in after.nodes].count("conv2d_statistics") == 1
    norms = [node for node in after.nodes if isinstance(node.op, BatchNormTrainingGathered)]
    assert [node.inputs[5] for node in norms] == ["y:statistics", "y:statistics"]
    assert after.outputs == graph.outputs


def test_other_batch_norms_stay():
    """Behind a convolution with an activation or a residual, and of a value that no convolution makes."""
    clipped = Program(Conv2D(activation="relu"), (5, 1, 1, 4))
    summed = Program(Conv2D(), (4, 1, 1, 4))
    y = summed.g.add(Conv2D(), summed.y, summed.param("v", (4, 1, 1, 4)), summed.param("c", (4,)), summed.y)
    graphs = [
        (clipped.g.build(*clipped.norm(clipped.y, "z")), clipped.arrays),
        (summed.g.build(*summed.norm(y, "z")), summed.arrays),
        (summed.g.build(*summed.norm(summed.x, "of_x")), summed.arrays),
    ]

    for graph, arrays in graphs:
        assert gather_statistics(graph, arrays)[0] == graph


@pytest.mark.parametrize(("op", "shape", "gathering"), PLAIN)
@pytest.mark.parametrize("residual", [False, True])
def test_to_inference_knows_the_plain_forms(op, shape, gathering, residual):
    """It makes of a graph with gathered statistics what it makes of the one before."""
    net = Program(op, shape)
    z = net.norm(net.y, "z", *([net.y] if residual else []), activation="relu6")
    graph = net.g.build(z[0])

    after, _ = to_inference(*gather_statistics(graph, net.arrays))

    assert after == to_inference(graph, net.arrays)[0]


@pytest.mark.parametrize("recompute", [None, "activations"])
@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_training_is_the_same(device, recompute, monkeypatch):
    """Weights and running statistics after three steps, with the pass and without it, up to the rounding of sums."""
    random = np.random.default_rng(0)
    feeds = {
        "image": random.standard_normal((8, SIDE, SIDE, 3), np.float32),
        "label": random.integers(0, 3, 8).astype(np.int32),
    }
    steps = []
    for passes in (pipelines.PIPELINES["step"], pipelines.PIPELINES["step"][1:]):
        monkeypatch.setattr(pipelines, "PIPELINES", {**pipelines.PIPELINES, "step": passes})
        step = training_step(tiny_model(), SGD(), learning_rate=0.05, seed=4, recompute=recompute)
        session = Session(step.graph, step.workspace, device, batch=8)
        for _ in range(3):
            session.run(feeds)
        steps.append(step)

    gathered, plain = steps
    kinds = [node.op.name for node in gathered.graph.nodes]
    assert kinds.count("batch_norm_training_gathered") == 3
    assert "batch_norm_training_gathered" not in [node.op.name for node in plain.graph.nodes]
    for name, array in plain.workspace.items():
        scale = max(float(np.abs(array).max()), 1e-2)
        np.testing.assert_allclose(gathered.workspace[name], array, rtol=0, atol=2e-5 * scale, err_msg=name)


LAYERS = [
    pytest.param(Conv2DStatistics(), (16, 56, 56, 24), (144, 1, 1, 24), id="in place"),
    pytest.param(Conv2DStatistics(), (16, 7, 7, 160), (960, 1, 1, 160), id="in place, small images"),
    pytest.param(Conv2DStatistics((2, 2), ((3, 3), (3, 3))), (16, 224, 224, 3), (64, 7, 7, 3), id="lines"),
    pytest.param(DepthwiseConv2DStatistics((1, 1), "same"), (16, 28, 28, 192), (1, 3, 3, 192), id="depthwise"),
]


@pytest.mark.parametrize(("op", "x", "w"), LAYERS)
def test_layers_of_the_zoo_gather_while_they_compute(op, x, w):
    """No pass of its own over the result where a kernel can do without."""
    load_device("cpu")

    chosen = find_kernel(op, "cpu", [Spec(x), Spec(w)])

    assert chosen is not None
    assert chosen.algorithm.endswith("gathering")


@pytest.mark.parametrize("pixels", [(1, 20), (3, 33)])
def test_few_pixels_are_not_cut_into_tasks_by_parts(pixels):
    """Too few parts would leave threads idle: there the statistics follow in a pass of their own."""
    load_device("cpu")
    inputs = [Spec((1, *pixels, 16)), Spec((32, 1, 1, 16))]

    known = applicable_kernels(Conv2DStatistics(), "cpu", inputs)

    assert known
    assert all(kernel.algorithm.endswith("then statistics") for kernel in known)
