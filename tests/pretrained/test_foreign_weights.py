"""`load` takes weights that Caffe and Keras stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk import pretrained
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.pretrained import vgg
from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.pretrained.foreign_weights import is_foreign, open_foreign, place_weights


@pytest.fixture
def stored():
    """A graph of ResNet-50 as Caffe has it, initial weights, and a state with every weight."""
    graph, initial = ZOO["resnet50_v1"].build(3, (32, 32), seed=0)
    parts = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
    names, state = ZOO["resnet50_v1"].names(), {}
    random = np.random.default_rng(0)
    for parameter in graph.params:
        layer, _, part = parameter.rpartition(".")
        shape = graph.specs[parameter].shape
        shape = (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape
        state[f"{names[layer]}.{parts.get(part, part)}"] = random.standard_normal(shape, np.float32)
    return graph, initial, state, names


def test_layouts_are_turned(stored):
    """Caffe's (out, in, h, w) become (out, h, w, in); vectors and the classifier stay."""
    graph, initial, state, names = stored

    weights = place_weights(graph, initial, state, names, "file")

    np.testing.assert_array_equal(weights["stem.conv.weight"], state["conv1.weight"].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(weights["stem.norm.mean"], state["bn_conv1.running_mean"])
    np.testing.assert_array_equal(weights["head.weight"], state["fc1000.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv1.weight"), "'conv1.weight' is missing .1 keys missing, 0 of another shape"),
        (lambda state: state.update(more=np.zeros(3)), "'more' is unknown"),
        (lambda state: state.update({"conv1.bias": np.zeros(3)}), r"conv1.bias is \[3\], wanted \[64\]"),
        (
            lambda state: state.update({"fc1000.weight": np.zeros((3, 4))}),
            r"fc1000.weight is \[3, 4\], wanted \[3, 2048\]",
        ),
    ],
)
def test_what_does_not_fit_is_counted(stored, change, message):
    """The first of each kind is named, with its shape."""
    graph, initial, state, names = stored
    change(state)

    with pytest.raises(FormatError, match=f"file: not weights of resnet50_v1: {message}"):
        place_weights(graph, initial, state, names, "file")


def test_another_number_of_classes_starts_a_new_head(stored):
    """And keeps all other weights."""
    _, _, state, names = stored
    graph, initial = ZOO["resnet50_v1"].build(5, (32, 32), seed=0)

    weights = place_weights(graph, initial, state, names, "file")

    np.testing.assert_array_equal(weights["head.weight"], initial["head.weight"])
    assert weights["head.weight"].shape == (5, 2048)


def test_files_are_known_by_their_beginnings_and_endings(tmp_path):
    """HDF5 whatever its name, .keras archives, .caffemodel; not PyTorch's archives."""
    for name, content, wanted in (
        ("a.bin", b"\x89HDF\r\n\x1a\n", True), ("a.keras", b"PK\x03\x04", True), ("a.pth", b"PK\x03\x04", False),
        ("a.caffemodel", b"\n", True), ("a.safetensors", b"12345678", False),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert is_foreign(tmp_path / name) == wanted
    assert not is_foreign("imagenet")


# The layers with weights in the authors' deploy.prototxt files.
AUTHORS = {
    "squeezenet1_1": {"conv1", "conv10"}
    | {f"fire{n}/{part}" for n in range(2, 10) for part in ("squeeze1x1", "expand1x1", "expand3x3")},
    "vgg16": {f"conv{n}_{m}" for n, many in enumerate((2, 2, 3, 3, 3), 1) for m in range(1, many + 1)}
    | {"fc6", "fc7", "fc8"},
}


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first (protobuf.dev, "Encoding")."""
    return bytes([number & 127]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array: np.ndarray) -> bytes:
    """BlobProto: shape 7 of dimensions 1, data 5."""
    shape = message(1, b"".join(varint(size) for size in array.shape))
    return message(7, shape) + message(5, array.astype("<f4").tobytes())


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        (
            "squeezenet1_1",
            {"features.0": "conv1", "features.3.squeeze": "fire2/squeeze1x1", "features.7.expand1x1": "fire5/expand1x1",
             "features.12.expand3x3": "fire9/expand3x3", "head": "conv10"},
        ),
        ("vgg16", {"features.0": "conv1_1", "features.28": "conv5_3", "classifier.0": "fc6", "head": "fc8"}),
    ],
)  # fmt: skip
def test_files_of_the_authors_are_loaded_by_name(network, layers, tmp_path, monkeypatch):
    """A .caffemodel with their layer names, written here field by field: weights turned, photos blue first."""
    monkeypatch.setattr(vgg, "UNITS", 8)  # of half a gigabyte
    graph, initial = ZOO[network].build(3, (224, 224), seed=1)
    other = {"other": {"weight": np.zeros((1, 1, 1, 1)), "bias": np.zeros(1)}}
    names = open_foreign(write_caffemodel(tmp_path / "other.caffemodel", other), network).layers
    assert {ours: names[ours] for ours in layers} == layers
    assert set(names.values()) == AUTHORS[network]
    stored = {}
    for value in graph.params:
        layer, _, part = value.rpartition(".")
        array = np.asarray(initial[value])
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        if layer == "classifier.0" and array.ndim == 2:
            array = array.reshape(len(array), 7, 7, 512).transpose(0, 3, 1, 2).reshape(len(array), -1)
        stored.setdefault(names[layer], {})[part] = array
    path = write_caffemodel(tmp_path / "file.caffemodel", stored)

    model = pretrained.load(network, weights=path)

    assert model.preprocess.channels == "bgr"
    assert model.num_classes == 3
    for value in graph.params:
        np.testing.assert_array_equal(model.workspace[value], initial[value])


def write_caffemodel(path: Path, layers: dict[str, dict[str, np.ndarray]]) -> Path:
    """NetParameter: layer 100 of name 1 and blobs 7."""
    content = b"".join(
        message(100, message(1, name.encode()) + b"".join(message(7, blob(parts[part])) for part in ("weight", "bias")))
        for name, parts in layers.items()
    )
    path.write_bytes(message(1, b"written by a test") + content)
    return path


def test_networks_that_caffe_does_not_have_are_refused(tmp_path):
    """With a hint to the form that it has, or to its definition."""
    path = tmp_path / "weights.caffemodel"
    path.write_bytes(b"\n")

    with pytest.raises(UsageError, match="did you mean alexnet_caffe"):
        pretrained.load("alexnet", weights=path)
    with pytest.raises(UsageError, match=r"caffe\.read\(prototxt, caffemodel\)"):
        pretrained.load("densenet121", weights=path)
    with pytest.raises(FormatError, match=r"weights\.caffemodel"):
        pretrained.load("caffenet", weights=path)
