"""Channels that nobody needs can be removed without changing an output: on random networks and on those of the zoo."""

from __future__ import annotations

import numpy as np
import pytest
from compression.channel_networks import networks, never_read, some_channels, written_as_zero
from graph.random_graphs import feeds_for, interpret, largest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from edge_sdk import pretrained
from edge_sdk.compression.coupled_channels import coupled_channels
from edge_sdk.compression.remove_channels import remove_channels, without_channels
from edge_sdk.errors import GraphError
from edge_sdk.serialize import graph_to_json
from edge_sdk.session import Session
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step
from edge_sdk.verify import verify

quickly = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
ZOO = {
    "alexnet": 63, "alexnet_caffe": 63, "densenet121": 32, "efficientnet_lite0": 32, "googlenet": 32, "mnasnet0_5": 32,
    "mobilenet_v1_0_25": 32, "mobilenet_v3_small": 32, "mobilenetv2": 32, "resnet18": 32, "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "vgg11_bn": 32,
}  # fmt: skip


@pytest.mark.parametrize("change", [written_as_zero, never_read])
@given(pair=networks(), seed=st.integers(0, 2**16))
@quickly
def test_a_random_network_without_them_computes_the_same(change, pair, seed):
    """Channels that are 0, and channels that no layer reads: in float64 the outputs are equal but for roundings."""
    graph, workspace = pair
    coupled = coupled_channels(graph)
    removed = some_channels(coupled, seed)
    useless = change(graph, workspace, coupled, removed)
    feeds = feeds_for(graph)

    smaller, arrays = remove_channels(graph, useless, coupled, removed)

    verify(smaller)
    wanted = interpret(graph.bind(2), useless, feeds)
    found = interpret(smaller.bind(2), arrays, feeds)
    np.testing.assert_allclose(found["logits"], wanted["logits"], rtol=0, atol=1e-9 * largest(wanted))
    assert sum(array.size for array in arrays.values()) < sum(a.size for a in workspace.values()) or not removed.any()


@given(pair=networks(), seed=st.integers(0, 2**16))
@quickly
def test_arguments_are_left_as_they_were(pair, seed):
    """Neither the graph's text nor a byte of an array changes."""
    graph, workspace = pair
    text, digest = graph_to_json(graph), workspace.digest()
    coupled = coupled_channels(graph)

    remove_channels(graph, workspace, coupled, some_channels(coupled, seed))

    assert (graph_to_json(graph), workspace.digest()) == (text, digest)


@pytest.mark.parametrize("name", ZOO)
def test_a_network_of_the_zoo_without_them_computes_the_same(name):
    """Half of the channels of every layer are made 0 and removed; what stays is the classifier, with its reason."""
    side = ZOO[name]
    model = pretrained.load(name, weights=None, num_classes=5, image_size=side, seed=1)
    random = np.random.default_rng(0)
    coupled = coupled_channels(model.graph)
    removed = some_channels(coupled, 1)
    useless = written_as_zero(model.graph, model.workspace, coupled, removed)
    image = random.standard_normal((2, side, side, 3), np.float32)

    smaller, arrays = remove_channels(model.graph, useless, coupled, removed)

    wanted = Session(model.graph, useless, batch=2, precise=True).run({"image": image})["logits"]
    found = Session(smaller, arrays, batch=2, precise=True).run({"image": image})["logits"]
    assert removed.sum() > 100
    assert len(np.unique(wanted)) > 1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    last = {"squeezenet1_1": {"head"}, "alexnet_caffe": {"conv1", "conv2", "logits"}}.get(name, {"logits"})
    assert set(coupled.kept) == last
    assert all("output of the graph" in coupled.kept[one] for one in last - {"conv1", "conv2"})


def test_operators_that_need_all_channels_say_so():
    """A response norm sums up neighbours: the layers before it keep all their channels."""
    model = pretrained.load("alexnet_caffe", weights=None, num_classes=5, image_size=63)

    kept = coupled_channels(model.graph).kept

    assert kept["conv1"] == "local_response_norm (local_response_norm) needs all channels"


def test_channels_of_a_residual_network_are_coupled():
    """By hand: the block's sum joins the stem's convolution, the depthwise one and the last; three norms have them."""
    model = tiny_model()

    coupled = coupled_channels(model.graph)

    (group,) = coupled.groups
    assert group.writers == ("stem.conv", "block.conv")
    assert len(group.channels) == 8
    channel = group.channels[3]
    found = {(v, axis) for v, axes in coupled.places.items() if v in model.graph.params for axis, ids in axes.items()
             if channel in ids}  # fmt: skip
    norms = [f"{norm}.{part}" for norm in ("stem.norm", "block.norm1", "block.norm2")
             for part in ("scale", "offset", "mean", "variance")]  # fmt: skip
    weights = [("stem.conv.weight", 0), ("block.depthwise.weight", 3), ("block.conv.weight", 0)]
    reads = [("block.conv.weight", 3), ("head.weight", 1)]
    assert found == {*weights, *reads, *((norm, 0) for norm in norms)}


def test_arrays_that_lose_nothing_are_shared():
    """No copy is made of weights that stay as they are."""
    model = tiny_model()
    coupled = coupled_channels(model.graph)

    _, arrays = remove_channels(model.graph, model.workspace, coupled, np.zeros(coupled.count, bool))

    assert all(arrays[name] is model.workspace[name] for name in arrays)


def test_channels_that_must_stay_are_refused():
    """The input's, and all of a layer's."""
    model = tiny_model()
    coupled = coupled_channels(model.graph)
    every = np.ones(coupled.count, bool)
    layer = np.zeros(coupled.count, bool)
    layer[coupled.groups[0].channels] = True

    with pytest.raises(GraphError, match="must stay"):
        without_channels(model.graph, coupled, every)
    with pytest.raises(GraphError, match=r"no channel of .* would be left"):
        without_channels(model.graph, coupled, layer)


def test_a_training_graph_is_refused():
    """Its parameters have gradients and moments of the same shape."""
    step = training_step(tiny_model(), SGD(), learning_rate=0.1)

    with pytest.raises(GraphError, match="before it gets its training form"):
        coupled_channels(step.graph)
