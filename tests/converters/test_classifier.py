"""A graph from a foreign file becomes a Model, or is refused with what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.converters.classifier import as_classifier
from edge_sdk.errors import FormatError
from edge_sdk.ops.activation import Softmax
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.pool import AdaptiveAvgPool2D
from edge_sdk.ops.shape import Flatten
from edge_sdk.spec import BATCH, Spec, Value
from edge_sdk.workspace import Workspace

WEIGHT = np.random.default_rng(0).standard_normal((5, 1, 1, 3)).astype(np.float32)
PHOTO = np.random.default_rng(1).random((2, 4, 4, 3), np.float32)


class Network:
    """A convolution to five channels called `logits`, of all names; their means; what a test adds."""

    def __init__(self, channels: int = 3) -> None:
        self.builder, self.workspace = Builder("foreign"), Workspace()
        self.data = self.builder.input("data", Spec((BATCH, 4, 4, channels)))
        weight = self.builder.param("w", Spec((5, 1, 1, channels)))
        self.workspace["w"] = WEIGHT[..., :channels]
        self.map = self.builder.add(Conv2D(), self.data, weight, name="logits")
        self.mean = self.builder.add(AdaptiveAvgPool2D((1, 1)), self.map)

    def model(self, output: Value, **options):
        """What as_classifier makes of it."""
        graph = self.builder.build(output)
        return as_classifier(graph, self.workspace, image=self.data, output=output, source="x.onnx", **options)


def test_the_final_softmax_is_left_out():
    """The model's logits are what the softmax read, flat; values that were called so before have made room."""
    net = Network()
    output = net.builder.add(Softmax(), net.builder.add(Flatten(), net.mean))

    model = net.model(output)

    wanted = (PHOTO.reshape(2, 16, 3) @ WEIGHT.reshape(5, 3).T).mean(axis=1)
    assert model.run(PHOTO) == pytest.approx(wanted, abs=1e-6)
    assert model.labels[4] == "class 4"
    assert model.provenance["preprocess"] == "assumed: pixels / 255"
    assert model.provenance["source"] == "x.onnx"


def test_a_head_of_one_by_one_pixels_is_flattened_and_named():
    """Scores (n, 1, 1, classes) become (n, classes); the layer behind them is the head, which can be exchanged."""
    net = Network()
    small = net.builder.add(AdaptiveAvgPool2D((1, 1)), net.data)
    scores = net.builder.add(Conv2D(), small, Value("w"), name="scores")

    model = net.model(scores, labels=["a", "b", "c", "d", "e"])

    assert list(model.workspace) == ["head.weight"]
    assert model.labels == ("a", "b", "c", "d", "e")
    assert model.with_labels(["x", "y"]).run(PHOTO).shape == (2, 2)


def test_grey_photos_are_fed_as_grey():
    """One channel: the assumed preprocessing makes grey photos."""
    net = Network(channels=1)

    model = net.model(net.builder.add(Flatten(), net.mean))

    assert model.preprocess.channels == "grey"
    assert model.run(PHOTO[..., :1]).shape == (2, 5)


def test_what_is_no_classifier_is_refused():
    """A second input, a map of scores, photos of two channels, labels that do not fit: each is named with the file."""
    two = Network()
    other = two.builder.input("mask", Spec((BATCH, 5)))
    both = two.builder.add(Add(), two.builder.add(Flatten(), two.mean), other)
    with pytest.raises(FormatError, match=r"x\.onnx: beside the image, the network reads mask"):
        two.model(both)
    with pytest.raises(FormatError, match=r"the output 'logits' is f32\[n,4,4,5\], wanted \(n, classes\)"):
        Network().model(Value("logits"))
    pair = Network(channels=2)
    with pytest.raises(FormatError, match=r"the input 'data' is f32\[n,4,4,2\], wanted photos"):
        pair.model(pair.mean)
    named = Network()
    with pytest.raises(FormatError, match="has 5 classes, but there are 2 labels"):
        named.model(named.mean, labels=["a", "b"])
