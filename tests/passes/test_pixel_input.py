"""A graph that takes bytes computes what the one that takes preprocessed photos does, to the last bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.loader import Loader
from edge_sdk.errors import GraphError
from edge_sdk.nn import Network
from edge_sdk.passes.pixel_input import PIXELS, pixel_input
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_bytes_become_the_numbers_of_the_preprocessing(channels: str, device: str) -> None:
    """Photos go through a loader once as numbers and once as bytes; the graph's image is the same array."""
    count = 1 if channels == "grey" else 3
    preprocess = Preprocess((6, 5), mean=MEAN[:count], std=STD[:count], channels=channels)
    net = Network("sum", preprocess.shape)
    graph, arrays = net.head(net.flatten(net.image), 2)
    graph = dataclasses.replace(graph, outputs=(graph.value("image"), *graph.outputs))
    photos = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)
    dataset = ArrayDataset.of(photos, [0, 1, 0], ("a", "b"))
    numbers, pixels = (
        next(Loader(dataset, preprocess, 3, pixels=as_bytes).epoch()).image for as_bytes in (False, True)
    )

    changed, new = pixel_input(graph, preprocess)
    arrays.update(new)
    result = Session(changed, arrays, device, 3).run({PIXELS: pixels})

    assert (pixels.dtype, changed.inputs) == (np.uint8, (PIXELS,))
    assert np.array_equal(result["image"], numbers)
    assert np.array_equal(result["logits"], Session(graph, arrays, device, 3).run({"image": numbers})["logits"])


def test_a_training_step_on_bytes_is_the_same_step() -> None:
    """Loss and every parameter after it; gradients read the photo too."""
    model = tiny_model()
    pixels = np.random.default_rng(0).integers(0, 256, (4, *model.preprocess.shape), np.uint8)
    label = np.array([0, 1, 2, 0], np.int32)
    plain, changed = (training_step(model, SGD(), learning_rate=0.1) for _ in range(2))
    graph, arrays = pixel_input(changed.graph, model.preprocess)
    changed.workspace.update(arrays)

    session = Session(plain.graph, plain.workspace, batch=4)
    wanted = session.run({"image": model.preprocess.normalise(pixels), "label": label})
    found = Session(graph, changed.workspace, batch=4).run({PIXELS: pixels, "label": label})

    assert found["loss"] == wanted["loss"]
    assert all(np.array_equal(changed.workspace[name], plain.workspace[name]) for name in plain.graph.params)


def test_a_graph_without_photos_is_refused() -> None:
    """What trains on features takes no photo: the message names what is looked for."""
    net = Network("features", (4, 4, 3))
    graph, _ = net.head(net.flatten(net.image), 2)
    renamed, _ = pixel_input(graph, Preprocess((4, 4)))

    with pytest.raises(GraphError, match="'image' is no input of float32 photos"):
        pixel_input(renamed, Preprocess((4, 4)))
