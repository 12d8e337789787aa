"""`features`: a network of the zoo as a backbone."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk import pretrained
from edge_sdk.errors import UsageError
from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.session import Session

# Channels of the feature maps of strides 4, 8, 16 and 32: the papers' tables (blocks of MobileNetV2 and DenseNet, the
# convolutions before VGG's pools and the last pool).
CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "mobilenetv2": (24, 32, 96, 320),
    "vgg16": (256, 512, 512, 512),
    "densenet121": (256, 512, 1024, 1024),
    "shufflenet_v2_x1_0": (24, 116, 232, 464),
    "efficientnet_lite0": (24, 40, 112, 320),
    "squeezenet1_1": (128, 256, 512),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_stages_have_the_published_channels(name):
    """Outputs are called stage1, stage2, …, and halve the image each time."""
    graph, workspace = ZOO[name].features((128, 96))

    assert graph.outputs == tuple(f"stage{index}" for index in range(1, len(CHANNELS[name]) + 1))
    for output, channels, stride in zip(graph.outputs, CHANNELS[name], (4, 8, 16, 32), strict=False):
        _, height, width, found = graph.specs[output].shape
        assert found == channels
        # Convolutions without padding lose a pixel here and there.
        assert (abs(height - 128 / stride) <= 1, abs(width - 96 / stride) <= 1) == (True, True)
    assert not any(value.startswith("head") for value in graph.params)
    assert set(workspace) == set(graph.params)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_network_is_a_backbone(name):
    """Three stages at least, each smaller than the one before."""
    graph, _ = ZOO[name].features((96, 96))

    heights = [graph.specs[output].shape[1] for output in graph.outputs]
    assert len(heights) >= 3
    assert heights == sorted(set(heights), reverse=True)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_the_classifier_on_the_last_stage_gives_the_models_logits(name):
    """What the backbone leaves out is the mean and the head, and MobileNetV2's last convolution."""
    model = pretrained.load(name, weights=None, num_classes=5, image_size=64)
    image = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)

    graph, workspace = pretrained.features(model)
    y = Session(graph, workspace, batch=2).run({"image": image})[graph.outputs[-1]]

    arrays = model.workspace
    if name == "mobilenetv2":
        # At first a batch norm only divides by √(1 + ε).
        y = np.clip(y @ arrays["features.18.conv.weight"][:, 0, 0].T / np.sqrt(1 + 1e-5), 0, 6)
    logits = y.mean((1, 2)) @ arrays["head.weight"].T + arrays["head.bias"]
    np.testing.assert_allclose(logits, model.run(image), atol=1e-4 * np.abs(logits).max())


def test_a_model_of_a_width_is_a_backbone_of_that_width():
    """And has the model's own arrays."""
    model = pretrained.load("mobilenetv2", weights=None, num_classes=5, image_size=64, width=0.5)

    graph, workspace = pretrained.features(model)

    assert [graph.specs[output].shape[3] for output in graph.outputs] == [16, 16, 48, 160]
    assert all(workspace[value] is model.workspace[value] for value in graph.params)


def test_a_model_from_elsewhere_is_refused():
    """Only the zoo's networks say where their stages end."""
    model = pretrained.load("resnet18", weights=None, num_classes=5, image_size=64)

    with pytest.raises(UsageError, match="'my network' is not in the zoo"):
        pretrained.features(model.replace(provenance={"architecture": "my network"}))
