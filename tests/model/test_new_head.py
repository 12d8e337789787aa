"""A model for other classes: the classifier starts anew, all else stays."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import LABELS, SIDE, tiny_model

from edge_sdk.errors import GraphError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import OUTPUT, Model
from edge_sdk.nn import Network
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.preprocess import Preprocess
from edge_sdk.workspace import Workspace

PHOTO = np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32)


def averaged(name: str) -> tuple[Graph, Workspace]:
    """A 1×1 convolution of three channels and their means."""
    net = Network("averaged", (SIDE, SIDE, 3))
    y = net.conv(net.image, 3, 1, name, bias=True)
    return net.builder.build(net.builder.add(GlobalAvgPool(), y, name=OUTPUT)), net.workspace


def test_the_classifier_starts_anew_and_the_rest_is_shared():
    """Five classes instead of three: head.weight has five small rows, the bias is zero, other arrays are the same."""
    model = tiny_model()

    other = model.with_labels([f"kind {index}" for index in range(5)])

    assert other.run(PHOTO).shape == (1, 5)
    assert other.labels == ("kind 0", "kind 1", "kind 2", "kind 3", "kind 4")
    assert 0 < np.abs(other.workspace["head.weight"]).max() <= 0.02
    assert not other.workspace["head.bias"].any()
    rest = [name for name in model.workspace if not name.startswith("head.")]
    assert rest
    assert all(other.workspace[name] is model.workspace[name] for name in rest)
    assert model.labels == LABELS


def test_the_head_may_be_a_convolution():
    """A 1×1 convolution called head, averaged over the image, is exchanged like a dense layer."""
    model = Model(*averaged("head"), Preprocess((SIDE, SIDE)), LABELS)

    other = model.with_labels(["a", "b"])

    assert other.run(PHOTO).shape == (1, 2)


def test_a_model_without_a_head_keeps_its_classes():
    """Where no layer is called head, the error says so."""
    model = Model(*averaged("last"), Preprocess((SIDE, SIDE)), LABELS)

    with pytest.raises(GraphError, match="no layer 'head' makes its 3 scores"):
        model.with_labels(["a", "b"])
    with pytest.raises(UsageError, match="at least one class"):
        tiny_model().with_labels([])
