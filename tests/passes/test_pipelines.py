"""What the pipelines make of whole networks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.errors import UsageError
from edge_sdk.passes.fold_batch_norm import fold_batch_norm
from edge_sdk.passes.fuse_activation import fuse_activation
from edge_sdk.passes.pipelines import PIPELINES, run_pipeline
from edge_sdk.passes.to_training import to_training
from edge_sdk.pretrained.zoo import load
from edge_sdk.session import Session
from edge_sdk.training.frozen import learnable

# Network → nodes by kind in its inference form. EfficientNet-Lite0: 16 blocks, the first without expansion;
# MobileNetV2: 17 of them; ResNet-18: 16 convolutions in blocks, the stem and 3 shortcuts.
ZOO = {
    "efficientnet_lite0": {"conv2d": 33, "depthwise_conv2d": 16, "batch_norm": 0, "relu6": 0},
    "mobilenetv2": {"conv2d": 35, "depthwise_conv2d": 17, "batch_norm": 0, "relu6": 0},
    "resnet18": {"conv2d": 20, "add": 8, "batch_norm": 0, "relu": 0},
}


def kinds(graph):
    """How many nodes there are of each operator."""
    return Counter(node.op.name for node in graph.nodes)


def test_the_tiny_network_in_its_inference_form():
    """Three convolutions, a sum, a mean and the head are all that is left of twelve nodes."""
    model = tiny_model()

    graph, arrays = run_pipeline("inference", model.graph, model.workspace)

    assert [node.op.name for node in graph.nodes] == [
        "conv2d", "depthwise_conv2d", "conv2d", "add", "global_avg_pool", "linear",
    ]  # fmt: skip
    assert [getattr(node.op, "activation", None) for node in graph.nodes] == ["relu6", "relu6", None, None, None, None]
    assert len(arrays) == 8


def test_the_tiny_network_in_its_training_form():
    """Norms train, activations are fused into them, dropout stays, nothing is folded."""
    model = tiny_model()
    training = to_training(model.graph, model.workspace, trainable=learnable(model.graph))

    graph, _ = run_pipeline("train", *training)

    found = kinds(graph)
    assert (found["batch_norm_training"], found["batch_norm"], found["dropout"], found["relu6"]) == (3, 0, 1, 0)
    assert graph.updates == training[0].updates


@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoo_are_folded_and_fused(name):
    """No norm and no lone activation is left, and the logits are the same on random images."""
    model = load(name, weights=None, num_classes=3, image_size=32)
    random = np.random.default_rng(0)
    for value, array in model.workspace.items():
        if value.endswith((".mean", ".offset")):
            array[...] = random.normal(0, 0.1, array.shape)
        if value.endswith(".variance"):
            array[...] = random.uniform(0.8, 1.2, array.shape)
    image = random.standard_normal((2, 32, 32, 3), np.float32)
    wanted = Session(model.graph, model.workspace, batch=2).run({"image": image})["logits"]

    graph, arrays = run_pipeline("inference", model.graph, model.workspace)

    assert {kind: kinds(graph)[kind] for kind in ZOO[name]} == ZOO[name]
    logits = Session(graph, arrays, batch=2).run({"image": image})["logits"]
    # Some fifty layers of float32 sums in another order: 1e-4 of the largest logit.
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_folding_comes_before_fusing():
    """A fused convolution could not take the norm behind it; the order of the table matters."""
    passes = PIPELINES["inference"]

    assert passes.index(fold_batch_norm) < passes.index(fuse_activation)


def test_an_unknown_pipeline_suggests_one():
    """A typo is named, with what was probably meant."""
    model = tiny_model()

    with pytest.raises(UsageError, match="did you mean 'inference'"):
        run_pipeline("inferense", model.graph, model.workspace)
