"""What `load` gives for each name, its published figures, and what it says when it cannot."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.cost import multiply_adds
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.model import Model
from edge_sdk.pretrained import architectures
from edge_sdk.training.frozen import learnable, trainable

# Trainable parameters, and multiply-adds of one photo of the usual size with half of their last published digit.
# torchvision's tables of its weights:
TORCHVISION = {
    "alexnet": (61_100_840, 0.714e9, 0.0005e9),
    "densenet121": (7_978_856, 2.834e9, 0.0005e9),
    "googlenet": (6_624_904, 1.498e9, 0.0005e9),
    "mnasnet0_5": (2_218_512, 0.104e9, 0.0005e9),
    "mnasnet0_75": (3_170_208, 0.215e9, 0.0005e9),
    "mnasnet1_0": (4_383_312, 0.314e9, 0.0005e9),
    "mnasnet1_3": (6_282_256, 0.526e9, 0.0005e9),
    "mobilenet_v3_large": (5_483_032, 0.217e9, 0.0005e9),
    "mobilenet_v3_small": (2_542_856, 0.057e9, 0.0005e9),
    "mobilenetv2": (3_504_872, 0.301e9, 0.0005e9),
    "resnet101": (44_549_160, 7.801e9, 0.0005e9),
    "resnet152": (60_192_808, 11.514e9, 0.0005e9),
    "resnet18": (11_689_512, 1.814e9, 0.0005e9),
    "resnet34": (21_797_672, 3.664e9, 0.0005e9),
    "resnet50": (25_557_032, 4.089e9, 0.0005e9),
    "resnext50_32x4d": (25_028_904, 4.23e9, 0.0005e9),
    "shufflenet_v2_x0_5": (1_366_792, 0.04e9, 0.0005e9),
    "shufflenet_v2_x1_0": (2_278_604, 0.145e9, 0.0005e9),
    "shufflenet_v2_x1_5": (3_503_624, 0.296e9, 0.0005e9),
    "shufflenet_v2_x2_0": (7_393_996, 0.583e9, 0.0005e9),
    "squeezenet1_0": (1_248_424, 0.819e9, 0.0005e9),
    "squeezenet1_1": (1_235_496, 0.349e9, 0.0005e9),
    "vgg11": (132_863_336, 7.609e9, 0.0005e9),
    "vgg11_bn": (132_868_840, 7.609e9, 0.0005e9),
    "vgg13": (133_047_848, 11.308e9, 0.0005e9),
    "vgg13_bn": (133_053_736, 11.308e9, 0.0005e9),
    "vgg16": (138_357_544, 15.47e9, 0.0005e9),
    "vgg16_bn": (138_365_992, 15.47e9, 0.0005e9),
    "vgg19": (143_667_240, 19.632e9, 0.0005e9),
    "vgg19_bn": (143_678_248, 19.632e9, 0.0005e9),
    "wide_resnet50_2": (68_883_240, 11.398e9, 0.0005e9),
}
OTHERS = {
    # timm's counts of efficientnet_lite0 to 4; the cost is TensorFlow's, who count norms and activations too: -6 %.
    "efficientnet_lite0": (4_652_008, 0.407e9 * 0.97, 0.407e9 * 0.03),
    "efficientnet_lite1": (5_416_680, 0.631e9 * 0.97, 0.631e9 * 0.03),
    "efficientnet_lite2": (6_092_072, 0.899e9 * 0.97, 0.899e9 * 0.03),
    "efficientnet_lite3": (8_197_096, 1.44e9 * 0.97, 1.44e9 * 0.03),
    "efficientnet_lite4": (13_006_568, 2.64e9 * 0.97, 2.64e9 * 0.03),
    # Howard et al. 2017, tables 6 and 8; the exact parameters are keras.applications' trainable ones.
    "mobilenet_v1": (4_231_976, 0.569e9, 0.0005e9),
    "mobilenet_v1_0_75": (2_585_560, 0.325e9, 0.0005e9),
    "mobilenet_v1_0_5": (1_331_592, 0.149e9, 0.0007e9),
    "mobilenet_v1_0_25": (470_072, 0.041e9, 0.0005e9),
    # Of the blobs in Caffe's files: 60,965,224 and 6,998,552 numbers; the costs are as often quoted.
    "alexnet_caffe": (60_965_224, 0.724e9, 0.0005e9),
    "caffenet": (60_965_224, 0.724e9, 0.0005e9),
    "googlenet_caffe": (6_998_552, 1.58e9, 0.005e9),
    # As torchvision's, the first with a bias more; He et al. 2016, table 1.
    "resnet50_v1": (25_557_032 + 64, 3.8e9, 0.1e9),
    "resnet101_v1": (44_549_160, 7.6e9, 0.05e9),
    "resnet152_v1": (60_192_808, 11.3e9, 0.05e9),
}
PUBLISHED = {**TORCHVISION, **OTHERS}
NAMES = tuple(sorted(PUBLISHED))
LITE_SIZES = (224, 240, 260, 280, 300)


@pytest.fixture(scope="module")
def lite0() -> Model:
    """EfficientNet-Lite0 with random weights and three classes, small."""
    return pretrained.load("efficientnet_lite0", weights=None, num_classes=3, image_size=64)


def test_the_zoo_lists_its_networks():
    """Every name of the list can be loaded, and is known to type checkers; the other tests do so."""
    assert pretrained.list_models() == NAMES
    assert tuple(sorted(get_args(architectures.Name))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_size_and_cost_are_the_published_ones(name):
    """Parameters exactly, multiply-adds to the published digits."""
    architecture = architectures.ZOO[name]

    graph, _ = architecture.build(1000, architecture.preprocess.size, seed=0)

    parameters, cost, digit = PUBLISHED[name]
    assert sum(graph.specs[value].elements for value in learnable(graph)) == parameters
    assert multiply_adds(graph.bind(1)) == pytest.approx(cost, abs=digit)


@pytest.mark.parametrize("name", NAMES)
def test_head_and_shapes(name):
    """`image` goes in, `logits` come out, and the classifier's parameters are called head."""
    graph, _ = architectures.ZOO[name].build(7, (96, 64), seed=0)

    assert str(graph.specs[graph.value("image")]) == "f32[n,96,64,3]"
    assert str(graph.specs[graph.value("logits")]) == "f32[n,7]"
    assert trainable(graph, "backbone") == ("head.weight", "head.bias")
    assert graph.specs[graph.value("head.weight")].shape[0] == 7
    assert graph.name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_a_published_name(name):
    """Each of ours one, and no two the same."""
    architecture = architectures.ZOO[name]
    graph, _ = architecture.build(7, (96, 64), seed=0)

    names = architecture.names()

    assert {parameter.rpartition(".")[0] for parameter in graph.params} == set(names)
    assert len(set(names.values())) == len(names)


def test_a_model_says_what_it_is():
    """Labels, and where its weights come from."""
    model = pretrained.load("squeezenet1_1", weights=None, num_classes=7, image_size=(96, 64))

    assert model.labels == tuple(f"class {index}" for index in range(7))
    assert model.provenance["architecture"] == "squeezenet1_1"
    assert model.provenance["weights"] == {"source": "random"}


# Sandler et al. 2018, table 4; torchvision's counts of its classes with other width multipliers.
@pytest.mark.parametrize(
    ("name", "width", "parameters"),
    [
        ("mobilenetv2", 1.4, 6_108_776),
        ("mobilenetv2", 0.5, 1_968_680),
        ("mobilenet_v3_large", 0.75, 3_377_576),
        ("mobilenet_v3_small", 0.75, 1_653_920),
        ("mobilenet_v1", 0.5, 1_331_592),
        ("mnasnet1_0", 1.3, 6_282_256),
    ],
)
def test_width_multipliers(name, width, parameters):
    """Channels are multiplied and rounded to whole eighths; the model remembers it."""
    graph, _ = architectures.ZOO[name].build(1000, (224, 224), 0, width)

    assert sum(graph.specs[value].elements for value in learnable(graph)) == parameters
    assert pretrained.load(name, None, 2, 32, width=width).provenance["width"] == width
    assert {parameter.rpartition(".")[0] for parameter in graph.params} == set(architectures.ZOO[name].names(width))


@pytest.mark.parametrize("name", sorted(set(TORCHVISION) - {"googlenet"}))
def test_preprocessing_is_torchvisions(name):
    """Its mean and deviation per channel, in units of 0 … 255; the later recipe resizes to 232."""
    chosen = architectures.ZOO[name].preprocess

    assert (chosen.size, chosen.channels) == ((224, 224), "rgb")
    assert chosen.resize == (
        232 if name in {"mnasnet0_75", "mnasnet1_3", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"} else 256
    )
    np.testing.assert_allclose(chosen.mean, np.array([0.485, 0.456, 0.406]) * 255, rtol=1e-6)
    np.testing.assert_allclose(chosen.std, np.array([0.229, 0.224, 0.225]) * 255, rtol=1e-6)
    assert chosen.interpolation == "bilinear"


@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v1", "mobilenet_v1_0_5"])
def test_networks_from_tensorflow_see_numbers_from_minus_1_to_1(name):
    """Torchvision's GoogLeNet too, which calls this `transform_input`."""
    chosen = architectures.ZOO[name].preprocess

    assert [(255 - m) / s for m, s in zip(chosen.mean, chosen.std, strict=True)] == [1, 1, 1]
    assert [-m / s for m, s in zip(chosen.mean, chosen.std, strict=True)] == [-1, -1, -1]


@pytest.mark.parametrize(("scale", "size"), list(enumerate(LITE_SIZES)))
def test_preprocessing_is_efficientnet_lites(scale, size):
    """Its own sizes, a margin of 32 pixels, bicubic, (x - 127) / 128."""
    chosen = architectures.ZOO[f"efficientnet_lite{scale}"].preprocess

    assert (chosen.size, chosen.resize, chosen.interpolation) == ((size, size), size + 32, "bicubic")
    assert (chosen.mean, chosen.std) == ((127,) * 3, (128,) * 3)


@pytest.mark.parametrize(("name", "size"), [("caffenet", 227), ("alexnet_caffe", 227), ("resnet50_v1", 224)])
def test_preprocessing_is_caffes(name, size):
    """Blue first, the mean of each channel taken away, nothing divided."""
    chosen = architectures.ZOO[name].preprocess

    assert (chosen.size, chosen.channels) == ((size, size), "bgr")
    np.testing.assert_allclose(chosen.mean, (104, 117, 123), atol=0.5)
    assert chosen.std == (1, 1, 1)


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
    """Torchvision writes mobilenet_v2, Caffe bvlc_googlenet."""
    assert pretrained.load("mobilenet_v2", weights=None, num_classes=2).name == "mobilenetv2"
    assert pretrained.load("bvlc_googlenet", weights=None, num_classes=2).name == "googlenet_caffe"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet-18"}, "'resnet-18' is not in the zoo; did you mean 'resnet18'.*alexnet, "),
        ({"name": "resnet18", "weights": "imagnet"}, "'imagnet': neither .*; did you mean 'imagenet'"),
        ({"name": "resnet18", "weights": "missing.pth"}, "'missing.pth': neither 'imagenet' nor a file"),
        ({"name": "resnet18", "weights": None, "num_classes": 0}, "num_classes is 0, wanted 1 or more"),
        (
            {"name": "resnet18", "weights": None, "num_classes": 2, "labels": ["a"]},
            "1 labels for 2 classes; .* num_classes=1",
        ),
        ({"name": "alexnet", "weights": None, "image_size": 62}, r"alexnet: images of \(62, 62\) .* least is 63"),
        ({"name": "vgg16", "weights": None, "image_size": (31, 64)}, r"\(31, 64\) are too small, the least is 32"),
        ({"name": "vgg16", "weights": None, "width": 0.5}, "vgg16 has one width; those with .* mobilenetv2"),
        ({"name": "mobilenetv2", "weights": None, "width": 0}, "mobilenetv2: width is 0, wanted .* up to 4"),
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
    side = architectures.ZOO[name].smallest
    graph, _ = architectures.ZOO[name].build(2, (side, side), seed=0)

    assert all(min(spec.shape) > 0 for spec in graph.bind(1).specs.values() if spec.shape)


def test_a_saved_network_comes_back(lite0, tmp_path):
    """Weights, labels, preprocessing and origin survive the .edge file."""
    lite0.save(tmp_path / "lite0.edge")
    loaded = edge.load(tmp_path / "lite0.edge")

    assert loaded.workspace.digest() == lite0.workspace.digest()
    assert (loaded.labels, loaded.preprocess, loaded.graph) == (lite0.labels, lite0.preprocess, lite0.graph)
    assert dict(loaded.provenance) == dict(lite0.provenance)
