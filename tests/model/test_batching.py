"""Large batches of large values run in pieces; the results are those of the whole."""

from __future__ import annotations

import numpy as np

from edge_sdk.batching import CACHE_BYTES, piece_size
from edge_sdk.graph import Graph
from edge_sdk.memory_plan import plan_memory
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess

SIDE = 96
ONE_VALUE = 4 * SIDE * SIDE * 16


def network(hidden: int = 0) -> Model:
    """Two convolutions to 16 channels; with `hidden`, dense layers with 4 · hidden² weights between them."""
    net = Network("net", (SIDE, SIDE, 3), seed=3)
    x = net.conv(net.conv(net.image, 16, 3, "conv1"), 16, 3, "conv2")
    x = net.global_average_pool(x)
    if hidden:
        x = net.linear(net.linear(x, 4 * hidden, "wide"), hidden, "narrow")
    graph, workspace = net.head(x, 3)
    return Model(graph, workspace, Preprocess((SIDE, SIDE)), ("a", "b", "c"), {"architecture": "net"})


def arena_bytes(graph: Graph, batch: int) -> int:
    bound = graph.bind(batch)
    return plan_memory(bound, [()] * len(bound.nodes)).arena_bytes


def test_what_fits_the_cache_runs_whole():
    assert piece_size(network().graph, 2) == 2


def test_pieces_are_even_and_fit_the_cache():
    """Two values of 16 channels live at a time; as many photos as fit, shared out evenly."""
    size = piece_size(network().graph, 40)

    most = CACHE_BYTES // (2 * ONE_VALUE)
    assert 40 // 4 == size <= most  # 10, 10, 10, 10: with `most` photos, 12, there are four pieces too
    assert arena_bytes(network().graph, size) <= CACHE_BYTES


def test_more_weight_than_picture_runs_whole():
    """Reading 64 MB of weights again would cost more than the values in memory do."""
    assert piece_size(network(hidden=2000).graph, 40) == 40


def test_pieces_give_what_the_whole_gives(monkeypatch):
    """Also when the last piece is smaller."""
    model = network()
    x = np.random.default_rng(0).standard_normal((7, SIDE, SIDE, 3), dtype=np.float32)
    monkeypatch.setattr("edge_sdk.batching.CACHE_BYTES", 3 * 2 * ONE_VALUE)

    in_pieces = model.run(x)

    assert sorted(batch for batch, _, _ in model._sessions) == [1, 3]
    np.testing.assert_allclose(in_pieces, np.concatenate([model.run(one[np.newaxis]) for one in x]), atol=1e-5)
