"""Every network of the zoo goes all the way: forward, one step of training, a saved file, float32 and int8 exports.

Where a family has several, the smallest runs by default; `pytest -m slow tests/pretrained` runs them all.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import skimage.data

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.graph import Node
from edge_sdk.model import INPUT, Model
from edge_sdk.ops.norm import BatchNormTraining
from edge_sdk.passes.to_training import to_training
from edge_sdk.quantization.post_training import quantize
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.frozen import learnable
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import LABEL, training_step
from edge_sdk.workspace import Workspace

# Those of test_export_zoo run there by default.
QUICK = (
    "densenet121", "googlenet", "mnasnet0_5", "mobilenet_v1_0_25", "mobilenet_v3_small", "shufflenet_v2_x0_5",
    "squeezenet1_1",
)  # fmt: skip
SIDES = {"alexnet": 96, "alexnet_caffe": 96, "caffenet": 96}
SIDE = 64
CLASSES = 10
# With a hundred layers and norms that know the photos, random weights make much of little: input numbers that differ in
# their last bit move ResNet-152's logits by 3e-4 of the largest. These networks keep the norms they begin with.
DEEP = ("resnet101", "resnet101_v1", "resnet152", "resnet152_v1")
# Operators on floats in an int8 file: no runtime normalises responses on integers.
WITH_FLOATS = ("alexnet_caffe", "caffenet", "googlenet_caffe")

every_network = pytest.mark.parametrize(
    "model",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in pretrained.list_models()],
    indirect=True,
)


@pytest.fixture(scope="module")
def photos() -> Array:
    """Squares of 96 pixels from real photos, uint8 (n, h, w, 3)."""
    scenes = (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut())
    corners = [(0, 0), (0, 150), (150, 0), (150, 150)]
    return np.stack([scene[top : top + 96, left : left + 96] for scene in scenes for top, left in corners])


@pytest.fixture(scope="module")
def model(request, photos) -> Model:
    """A network with random weights, whose batch norms know the means and variances of the photos' features.

    Without that, numbers grow or fade from layer to layer as they never do in a trained network.
    """
    name = request.param
    made = pretrained.load(name, weights=None, num_classes=CLASSES, image_size=SIDES.get(name, SIDE))
    graph, arrays = to_training(made.graph, made.workspace, trainable=learnable(made.graph))
    if graph.updates and name not in DEEP:
        images = np.stack([made.preprocess(photo) for photo in photos])
        measuring = dataclasses.replace(graph, nodes=tuple(_without_past(node) for node in graph.nodes))
        copies = Workspace({value: array.copy() for value, array in arrays.items()})
        Session(measuring, copies, batch=len(images)).run({INPUT: images})
        made = made.replace(workspace=copies.restricted(made.graph))
    return made


def _without_past(node: Node) -> Node:
    """The running statistics become the batch's own."""
    if not isinstance(node.op, BatchNormTraining):
        return node
    return dataclasses.replace(node, op=dataclasses.replace(node.op, momentum=1.0))


@every_network
def test_one_step_trains_every_weight(model, photos):
    """The loss of four photos is finite, and all weights of convolutions and dense layers move."""
    images = np.stack([model.preprocess(photo) for photo in photos[:4]])

    step = training_step(model, SGD(0.9), learning_rate=0.01)
    outputs = Session(step.graph, step.workspace, batch=4).run({INPUT: images, LABEL: np.arange(4, dtype=np.int32)})
    trained = step.trained_model().workspace

    assert np.isfinite(outputs["loss"])
    weights = [value for value in learnable(model.graph) if value.endswith(".weight")]
    assert weights
    assert [value for value in weights if np.array_equal(trained[value], model.workspace[value])] == []


@every_network
def test_a_saved_network_comes_back(model, photos, tmp_path):
    """The file's model is the same to the last bit, and so are its logits."""
    images = np.stack([model.preprocess(photo) for photo in photos[:2]])

    model.save(tmp_path / "model.edge")
    loaded = edge.load(tmp_path / "model.edge")

    assert loaded.graph == model.graph
    assert loaded.workspace.digest() == model.workspace.digest()
    logits = model.run(images)
    assert logits.shape == (2, CLASSES)
    np.testing.assert_array_equal(loaded.run(images), logits)
    (tmp_path / "model.edge").unlink()  # up to 580 MB


@every_network
def test_the_float_file_is_proven_in_the_runtime(model, photos, tmp_path):
    """Builtin operators only, none that transposes; logits within 1e-4 of the largest."""
    path = tmp_path / "model.tflite"

    report = edge.export(model, path, check=photos)

    assert report.photos == len(photos)
    assert report.relative_difference <= 1e-4
    assert set(report.operators) <= set(Builtin.__members__)
    assert "TRANSPOSE" not in report.operators
    path.unlink()  # up to 540 MB


@every_network
def test_the_int8_file_is_proven_in_the_runtime(model, photos, tmp_path):
    """It computes what our 8-bit kernels do, and its logits still follow the model's.

    Rounding moves the logits of a random network far more than those of a trained one, whose bounds are in
    test_real_weights: here they only have to go together.
    """
    path = tmp_path / "model.tflite"
    images = np.stack([model.preprocess(photo) for photo in photos])
    expected = quantize(model, photos).run(images)

    report = edge.export(model, path, quantize="int8", calibrate=photos)
    file = TFLiteModel.open(path)
    logits = file.run(np.stack([file.preprocess(photo) for photo in photos]))

    assert "TRANSPOSE" not in report.operators
    assert bool(report.float_tensors) == (model.name in WITH_FLOATS)
    assert all(name.startswith("local_response_norm") for name in report.float_tensors)
    if "HARD_SWISH" not in report.operators:  # a few of its results are one step away in the runtime
        assert np.abs(logits - expected).max() <= 0.02 * np.abs(expected).max()
    assert np.corrcoef(logits.ravel(), model.run(images).ravel())[0, 1] >= 0.5
    path.unlink()
