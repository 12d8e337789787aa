"""What a training step on a GPU moves and computes at least, by hand on a small graph."""

from __future__ import annotations

import pytest

from benchmarks.gpu_traffic import Limits, least_seconds, moved_bytes, operations, shares
from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.norm import BatchNormTraining, BatchNormTrainingGrad
from edge_sdk.ops.shape import Reshape
from edge_sdk.ops.statistics import Conv2DStatistics
from edge_sdk.spec import Spec

LIMITS = Limits(1000.0, {"float32": 100.0, "tf32": 1000.0, "float16": 10_000.0, "bfloat16": 10_000.0})
PIXELS = 2 * 4 * 4  # of two images; 8 channels of float16 are 16 bytes a pixel
CHANNELS = 8


def only_node(op, *inputs, outputs=1):
    """The graph of one node on inputs of these specs, and the node."""
    g = Builder("one")
    values = g.add_multi(op, *(g.input(f"x{i}", spec) for i, spec in enumerate(inputs)))
    graph = g.build(*values)
    assert len(graph.nodes[0].outputs) == outputs
    return graph, graph.nodes[0]


IMAGE = Spec((2, 4, 4, CHANNELS), "float16")
PER_CHANNEL = Spec((CHANNELS,))


def test_a_convolution_multiplies_once_a_tap_and_channel():
    """x, w and y are moved; 2 · 9 · 8 operations make each of the results. It takes the longer of both."""
    graph, node = only_node(Conv2D(padding="same"), IMAGE, Spec((8, 3, 3, 8), "float16"))

    assert moved_bytes(graph, node) == 2 * PIXELS * 16 + 9 * 64 * 2
    assert operations(graph, node) == PIXELS * 8 * 2 * 72
    assert least_seconds(graph, node, LIMITS) == pytest.approx(PIXELS * 8 * 2 * 72 / 10_000)


@pytest.mark.parametrize(("precision", "rate"), [("float32", 100), ("tf32", 1000)])
def test_the_rate_is_that_of_the_numbers(precision, rate):
    """Float32 is multiplied exactly, unless the operator allows otherwise."""
    inputs = Spec(IMAGE.shape), Spec((8, 3, 3, 8))
    graph, node = only_node(Conv2D(padding="same", precision=precision), *inputs)

    assert least_seconds(graph, node, LIMITS) == pytest.approx(PIXELS * 8 * 2 * 72 / rate)


def test_statistics_read_what_was_made():
    """Y is written and read again; its parts are small."""
    graph, node = only_node(Conv2DStatistics(), IMAGE, Spec((8, 1, 1, 8), "float16"), outputs=2)

    assert moved_bytes(graph, node) == 3 * PIXELS * 16 + 64 * 2 + 32 * 3 * 8 * 4


def test_batch_norm_passes_over_memory_as_often_as_its_kernels():
    """Forward: x twice, y. Backward: dy and x twice, dx; with a residual dy, x, y, what passes, then that, x and dx."""
    row, forward = PIXELS * 16, [IMAGE, *[PER_CHANNEL] * 4]
    of_channels = 4 * CHANNELS
    plain = [IMAGE, IMAGE, *[PER_CHANNEL] * 3]

    assert moved_bytes(*only_node(BatchNormTraining(), *forward, outputs=5)) == 3 * row + 8 * of_channels
    assert moved_bytes(*only_node(BatchNormTrainingGrad(), *plain, outputs=3)) == 5 * row + 5 * of_channels
    residual = only_node(BatchNormTrainingGrad("relu", residual=True), *plain, PER_CHANNEL, IMAGE, outputs=4)
    assert moved_bytes(*residual) == 7 * row + 6 * of_channels


def test_a_table_adds_up_by_operator_and_views_cost_nothing():
    """Two functions of the same kind and a view of the result."""
    g = Builder("two")
    x = g.input("x", IMAGE)
    graph = g.build(g.add(Reshape((2, 128)), g.add(Relu(), g.add(Relu(), x))))

    found = shares(graph, LIMITS)

    assert list(found) == ["relu", "reshape"]
    assert (found["relu"].nodes, found["relu"].bytes) == (2, 4 * PIXELS * 16)
    assert found["relu"].seconds == pytest.approx(4 * PIXELS * 16 / 1000)
    assert (found["reshape"].bytes, found["reshape"].seconds) == (0, 0)
