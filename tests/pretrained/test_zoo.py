"""What `load` gives for each name, its published figures, and what it says when it cannot."""

from __future__ import annotations

import numpy as np
import pytest

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.cost import multiply_adds
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.model import Model
from edge_sdk.training.frozen import learnable, trainable

NAMES = (
    "alexnet", "efficientnet_lite0", "mobilenetv2", "resnet101", "resnet152", "resnet18", "resnet34", "resnet50",
    "vgg16",
)  # fmt: skip

# Trainable parameters, multiply-adds of one photo of 224 × 224, and half of the last published digit: torchvision's
# tables of its weights; for Lite0 timm's, and the count of its published checkpoint.
PUBLISHED = {
    "alexnet": (61_100_840, 0.714e9, 0.0005e9),
    "efficientnet_lite0": (4_652_008, 0.4e9, 0.05e9),
    "mobilenetv2": (3_504_872, 0.301e9, 0.0005e9),
    "resnet18": (11_689_512, 1.814e9, 0.0005e9),
    "resnet34": (21_797_672, 3.664e9, 0.0005e9),
    "resnet50": (25_557_032, 4.089e9, 0.0005e9),
    "resnet101": (44_549_160, 7.801e9, 0.0005e9),
    "resnet152": (60_192_808, 11.514e9, 0.0005e9),
    "vgg16": (138_357_544, 15.47e9, 0.005e9),
}


@pytest.fixture(scope="module")
def lite0() -> Model:
    """EfficientNet-Lite0 with random weights and three classes, small."""
    return pretrained.load("efficientnet_lite0", weights=None, num_classes=3, image_size=64)


def test_the_zoo_lists_its_networks():
    """Every name of the list can be loaded; the other tests do so."""
    assert pretrained.list_models() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_size_and_cost_are_the_published_ones(name):
    """Parameters exactly, multiply-adds to the published digits."""
    graph = pretrained.load(name, weights=None).graph

    parameters, cost, digit = PUBLISHED[name]
    assert sum(graph.specs[value].elements for value in learnable(graph)) == parameters
    assert multiply_adds(graph.bind(1)) == pytest.approx(cost, abs=digit)


@pytest.mark.parametrize("name", NAMES)
def test_head_and_shapes(name):
    """`image` goes in, `logits` come out, and the classifier's parameters are called head."""
    model = pretrained.load(name, weights=None, num_classes=7, image_size=(96, 64))

    assert str(model.graph.specs[model.graph.value("image")]) == "f32[n,96,64,3]"
    assert str(model.graph.specs[model.graph.value("logits")]) == "f32[n,7]"
    assert trainable(model.graph, "backbone") == ("head.weight", "head.bias")
    assert model.labels == tuple(f"class {index}" for index in range(7))
    assert model.provenance["architecture"] == name
    assert model.provenance["weights"] == {"source": "random"}


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_is_the_published_one(name):
    """Torchvision's mean and deviation per channel, or EfficientNet-Lite's 127 and 128, in units of 0 … 255."""
    chosen = pretrained.architectures.ZOO[name].preprocess

    assert (chosen.size, chosen.resize, chosen.channels) == ((224, 224), 256, "rgb")
    if name == "efficientnet_lite0":
        assert (chosen.mean, chosen.std, chosen.interpolation) == ((127,) * 3, (128,) * 3, "bicubic")
    else:
        np.testing.assert_allclose(chosen.mean, np.array([0.485, 0.456, 0.406]) * 255, rtol=1e-6)
        np.testing.assert_allclose(chosen.std, np.array([0.229, 0.224, 0.225]) * 255, rtol=1e-6)
        assert chosen.interpolation == "bilinear"


def test_the_seed_decides_random_weights():
    """Same seed, same bytes; another seed, other weights."""
    digests = [
        pretrained.load("mobilenetv2", weights=None, num_classes=2, seed=s).workspace.digest() for s in (0, 0, 1)
    ]

    assert digests[0] == digests[1] != digests[2]


def test_labels_name_the_classes():
    """Given labels are kept, and count the classes when nothing else does."""
    model = pretrained.load("resnet18", weights=None, labels=["cat", "dog", "eel"], image_size=32)

    assert model.labels == ("cat", "dog", "eel")
    assert model.graph.specs[model.graph.value("logits")].shape[-1] == 3


def test_an_alias_is_understood():
    """Torchvision writes mobilenet_v2."""
    assert pretrained.load("mobilenet_v2", weights=None, num_classes=2).name == "mobilenetv2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet-18"}, "'resnet-18' is not in the zoo .*alexnet, .*; did you mean 'resnet18'"),
        ({"name": "resnet18", "weights": "imagnet"}, "'imagnet': neither .*; did you mean 'imagenet'"),
        ({"name": "resnet18", "weights": "missing.pth"}, "'missing.pth': neither 'imagenet' nor a file"),
        ({"name": "resnet18", "weights": None, "num_classes": 0}, "num_classes is 0, wanted 1 or more"),
        (
            {"name": "resnet18", "weights": None, "num_classes": 2, "labels": ["a"]},
            "1 labels for 2 classes; .* num_classes=1",
        ),
        ({"name": "alexnet", "weights": None, "image_size": 62}, r"alexnet: images of \(62, 62\) .* least is 63"),
        ({"name": "vgg16", "weights": None, "image_size": (31, 64)}, r"\(31, 64\) are too small, the least is 32"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    """One clear sentence, with a suggestion for a typing mistake."""
    with pytest.raises(UsageError, match=message):
        pretrained.load(**arguments)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an archive", b"\x80\x02}q\x00.", b"hello"])
def test_a_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    """Whatever the bytes are, the error is a FormatError that names the file."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=r"weights\.pth"):
        pretrained.load("resnet18", weights=path)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_image_runs(name):
    """The least side that the table promises is enough for every stride and window."""
    side = pretrained.architectures.ZOO[name].smallest
    graph = pretrained.load(name, weights=None, num_classes=2, image_size=side).graph

    assert all(min(spec.shape) > 0 for spec in graph.bind(1).specs.values() if spec.shape)


def test_a_saved_network_comes_back(lite0, tmp_path):
    """Weights, labels, preprocessing and origin survive the .edge file."""
    lite0.save(tmp_path / "lite0.edge")
    loaded = edge.load(tmp_path / "lite0.edge")

    assert loaded.workspace.digest() == lite0.workspace.digest()
    assert (loaded.labels, loaded.preprocess, loaded.graph) == (lite0.labels, lite0.preprocess, lite0.graph)
    assert dict(loaded.provenance) == dict(lite0.provenance)
