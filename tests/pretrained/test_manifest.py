"""The manifest: every entry is complete and agrees with what is published, and a damaged manifest is refused."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources

import numpy as np
import pytest

from edge_sdk import pretrained
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.pretrained.architectures import ALIASES, ZOO
from edge_sdk.pretrained.digest import Digest
from edge_sdk.pretrained.manifest import Entry, entries, entries_of, find_entry, parse_manifest
from edge_sdk.pretrained.zoo import _origin

NAMES = sorted(entries())
TORCHVISION = [name for name in NAMES if ".imagenet1k_v" in name]
TEXT = resources.files("edge_sdk.pretrained").joinpath("manifest.json").read_text("utf-8")

# Architectures of the papers whose weights are published, by family.
PUBLISHED = {
    "alexnet", "alexnet_caffe", "caffenet", "densenet121", "efficientnet_lite0", "efficientnet_lite1",
    "efficientnet_lite2", "googlenet", "googlenet_caffe", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3",
    "mobilenet_v3_large", "mobilenet_v3_small", "mobilenetv2", "resnet101", "resnet152", "resnet18", "resnet34",
    "resnet50", "resnet50_v1", "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet50_2",
}  # fmt: skip
BUILT = {"alexnet", "densenet121", "mobilenetv2", "resnet18", "resnet34", "resnet50", "squeezenet1_1"}
# Top-1 of some, from torchvision's table of weights and the papers' model pages.
TOP1 = {
    "alexnet.imagenet1k_v1": 56.522, "vgg16_bn.imagenet1k_v1": 73.36, "resnet50.imagenet1k_v1": 76.13,
    "resnet50.imagenet1k_v2": 80.858, "densenet121.imagenet1k_v1": 74.434, "caffenet.caffe": 57.4,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if entries()[name].default])
def test_photos_are_fed_to_random_weights_as_to_the_published_ones(name):
    """The table of networks and the manifest say the same."""
    entry = entries()[name]

    assert ZOO[entry.architecture].preprocess == entry.preprocess


def test_every_published_architecture_has_weights():
    """One default each, and V1 and V2 of torchvision are entries of their own."""
    assert {entry.architecture for entry in entries().values()} == PUBLISHED
    assert [entry.weights for entry in entries_of("resnet50")] == ["imagenet1k_v1", "imagenet1k_v2"]
    assert sum(name.endswith("_v2") for name in TORCHVISION) == 7


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_complete(name):
    """What every entry must have, beyond what reading it has checked."""
    entry = entries()[name]

    assert len(set(entry.read_labels())) == 1000
    assert entry.url is not None or entry.package
    # Four bytes a parameter; two in torchvision's first Wide-ResNet, more in GoogLeNet's with its side classifiers.
    assert entry.sizes is None or 2 < entry.sizes[0] / entry.parameters < 8
    assert entry.preprocess.channels == ("bgr" if entry.format == "caffe" else "rgb")
    assert entry.top1 is None or entry.top5 is None or entry.top1 < entry.top5
    assert Entry.parse(name, json.loads(json.dumps(entry.to_dict()))) == entry


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_rules(name):
    """The digits behind the last dash of a file's name are the first of its SHA-256; V1 is the default; mean, deviation
    and sizes are those of its transforms.
    """
    entry = entries()[name]

    digits = entry.file.removesuffix(".pth").rsplit("-", 1)[1]
    assert re.fullmatch(r"[0-9a-f]{8,10}", digits)
    assert str(entry.digest).startswith(f"sha256:{digits}")
    assert entry.url == f"https://download.pytorch.org/models/{entry.file}"
    assert entry.default == name.endswith("_v1")
    assert entry.preprocess.size == (224, 224)
    assert entry.preprocess.resize in ((256, 232) if entry.default else (232,))
    assert (entry.preprocess.interpolation, entry.format) == ("bilinear", "torch")
    if entry.architecture == "googlenet":  # its transform_input: (x / 255 - 0.5) / 0.5
        assert entry.preprocess.mean == entry.preprocess.std == (127.5,) * 3
    else:
        np.testing.assert_allclose(entry.preprocess.mean, np.array([0.485, 0.456, 0.406]) * 255, rtol=1e-6)
        np.testing.assert_allclose(entry.preprocess.std, np.array([0.229, 0.224, 0.225]) * 255, rtol=1e-6)


@pytest.mark.parametrize("name", TOP1)
def test_published_accuracies(name):
    """By hand, some of each publisher."""
    assert entries()[name].top1 == TOP1[name]


def test_caffe_subtracts_the_mean_of_blue_first():
    """Caffe's networks see 227 of a photo stretched to 256, those of Oxford 224 of its shorter side's 256."""
    caffenet, vgg = entries()["caffenet.caffe"].preprocess, entries()["vgg16.caffe"].preprocess

    assert (caffenet.size, caffenet.stretch, caffenet.resize) == ((227, 227), (256, 256), None)
    assert (vgg.size, vgg.stretch, vgg.resize, vgg.std) == ((224, 224), None, 256, (1, 1, 1))
    assert vgg.mean == (103.939, 116.779, 123.68)
    np.testing.assert_allclose(caffenet.mean, (104, 117, 123), atol=0.4)


@pytest.mark.parametrize("name", [name for name in TORCHVISION if entries()[name].architecture in BUILT])
def test_the_file_has_room_for_the_architecture(name):
    """Four bytes a parameter or statistic of a batch norm, names, headers and the norms' counters."""
    entry = entries()[name]

    graph = pretrained.load(entry.architecture, weights=None, image_size=64).graph
    stored = 4 * sum(graph.specs[value].elements for value in graph.params)
    assert entry.sizes is None or (entry.sizes[1] - stored >= 0 and entry.sizes[0] - stored < 120_000)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet50", "resnet50.imagenet1k_v1"),
        ("resnet50.imagenet1k_v2", "resnet50.imagenet1k_v2"),
        ("mobilenet_v2.imagenet1k_v2", "mobilenetv2.imagenet1k_v2"),
        ("vgg16", "vgg16.imagenet1k_v1"),
    ],
)
def test_an_entry_is_found_by_name_or_architecture(name, found):
    """An architecture means its default, and torchvision's spelling is understood."""
    assert find_entry(name, ALIASES).name == found


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ("imagenet", "resnet50.imagenet1k_v1"),
        ("imagenet1k_v1", "resnet50.imagenet1k_v1"),
        ("imagenet1k_v2", "resnet50.imagenet1k_v2"),
        ("resnet50.imagenet1k_v2", "resnet50.imagenet1k_v2"),
    ],
)
def test_what_load_calls_weights(weights, found):
    """The default is imagenet, others go by their name; each brings its own preprocessing."""
    origin = _origin("resnet50", weights)

    assert origin.entry == entries()[found]
    assert origin.preprocess is not None
    assert origin.preprocess.resize == (232 if found.endswith("v2") else 256)


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        (
            "resnet50",
            "imagenet1k_v3",
            r"'imagenet1k_v3': neither .* resnet50 \(imagenet1k_v1, imagenet1k_v2\); did you",
        ),
        ("resnet50", "resnet18.imagenet1k_v1", "neither 'imagenet' nor a file, nor other"),
        ("efficientnet_lite4", "imagenet", r"efficientnet_lite4: no weights are published .*weights=None"),
        ("efficientnet_lite4", "imagenet1k_v1", r"\(there are none\)"),
    ],
)
def test_weights_that_are_not_published(architecture, weights, message):
    """The known ones are named, with a suggestion."""
    with pytest.raises(UsageError, match=message):
        _origin(architecture, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "sha256:0676"}, "digest 'sha256:0676': wanted"),
        ({"digest": "md5:0676ba61"}, "wanted one of sha256, sha384, sha1"),
        ({"digest": "sha1:" + "0" * 41}, "digest"),
        ({"digest": None}, "digest None"),
        ({"file": "../resnet50.pth"}, "file is"),
        ({"file": ".hidden"}, "file is"),
        ({"url": "file:///etc/passwd"}, "url is"),
        ({"url": None}, "a url or a package"),
        ({"package": "x"}, "a url or a package"),
        ({"mirrors": ["ftp://x"]}, "mirrors is"),
        ({"mirrors": None}, "resnet50"),
        ({"bytes": -1}, "bytes is -1"),
        ({"bytes": True}, "bytes is True"),
        ({"parameters": 0}, "parameters is 0"),
        ({"top1": 0.76 * 1000}, "top1 is"),
        ({"labels": "coco"}, "labels is 'coco'"),
        ({"format": "pickle"}, "format is"),
        ({"architecture": "resnet51"}, "begin with its architecture"),
        ({"default": "yes"}, "default is"),
        ({"default": False}, "one default"),
        ({"preprocess": {"size": [224, 224]}}, "preprocess: the entry"),
        ({"extra": 1}, "amiss: .*extra"),
        ({"file": "resnet50-11ad3fa6.pth"}, "two entries have one file"),
    ],
)
def test_a_wrong_manifest_is_refused(change, message):
    """Every field is checked, and the message names entry and field."""
    values = {name: value for name, value in json.loads(TEXT).items() if name.startswith("resnet50.")}
    values["resnet50.imagenet1k_v1"] |= change

    with pytest.raises(FormatError, match=message):
        parse_manifest(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"a": 1}', '{"a.b": {}}'])
def test_what_is_no_manifest_is_refused(text):
    """Whatever it is."""
    with pytest.raises(FormatError, match="manifest"):
        parse_manifest(text)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384"])
@pytest.mark.parametrize("digits", [8, 40])
def test_a_digest_is_compared_by_its_published_digits(algorithm, digits, tmp_path):
    """All that are published must agree; the SHA-256 is computed beside any other."""
    (tmp_path / "file").write_bytes(b"weights")
    digest = Digest(algorithm, hashlib.new(algorithm, b"weights").hexdigest()[:digits])

    found = Digest.parse(str(digest)).of(tmp_path / "file")

    assert found.matches
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    found.update(b"!")
    assert not found.matches
