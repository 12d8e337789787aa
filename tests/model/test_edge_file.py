"""The `.edge` file: what goes in comes out; what is damaged, newer or hostile gets a FormatError and nothing else."""

from __future__ import annotations

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as read_safetensors
from safetensors.numpy import save as write_safetensors
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk.edge_file import load, save
from edge_sdk.errors import FormatError, UsageError

PHOTOS = np.random.default_rng(0).standard_normal((3, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """A small model whose provenance and labels hold more than ASCII."""
    return tiny_model().replace(labels=("blå", "grün", "röd [x]"), provenance={"seed": 7, "from": ["Ω", None, 1.5]})


@pytest.fixture(scope="module")
def good(model, tmp_path_factory) -> bytes:
    """The bytes of its file."""
    path = tmp_path_factory.mktemp("good") / "model.edge"
    save(model, path)
    return path.read_bytes()


@pytest.fixture
def read(tmp_path):
    """Write bytes to a file and load it."""

    def call(data: bytes):
        path = tmp_path / "model.edge"
        path.write_bytes(data)
        return load(path)

    return call


def header(data: bytes) -> tuple[dict, bytes]:
    """The JSON header of a safetensors file and what follows it."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(value: object, rest: bytes) -> bytes:
    """A file with another header."""
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + rest


def with_metadata(data: bytes, **changes: str) -> bytes:
    """The file with other metadata; the checksum stays what it was unless it is among the changes."""
    head, rest = header(data)
    head["__metadata__"].update(changes)
    return with_header(head, rest)


def test_everything_comes_back(model, good, read):
    """Program, weights bit for bit, preprocessing, labels, provenance, and the function."""
    found = read(good)

    assert str(found.graph) == str(model.graph)
    assert set(found.workspace) == set(model.workspace)
    for name, array in model.workspace.items():
        assert (found.workspace[name].dtype, found.workspace[name].tobytes()) == (array.dtype, array.tobytes())
    assert (found.preprocess, found.labels) == (model.preprocess, model.labels)
    assert dict(found.provenance) == dict(model.provenance)
    np.testing.assert_array_equal(found.run(PHOTOS), model.run(PHOTOS))


def test_equal_models_give_equal_bytes(model, good, tmp_path):
    """The file says nothing of when and where it was written."""
    save(load_and_forget(tmp_path, good), tmp_path / "again.edge")

    assert (tmp_path / "again.edge").read_bytes() == good


def load_and_forget(folder, data: bytes):
    """A model read from a file that is gone afterwards."""
    path = folder / "gone.edge"
    path.write_bytes(data)
    found = load(path)
    path.unlink()
    return found


def test_it_is_a_safetensors_file(model, good):
    """The library that defines the format reads the weights."""
    tensors = read_safetensors(good)

    assert set(tensors) == set(model.workspace)
    assert header(good)[0]["__metadata__"]["edge"] == "1"


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(good, share, tmp_path_factory):
    """Wherever it ends."""
    path = tmp_path_factory.mktemp("cut") / "model.edge"
    path.write_bytes(good[: int(share * len(good))])

    with pytest.raises(FormatError, match=r"model\.edge"):
        load(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_found(good, data, tmp_path_factory):
    """In the header or in the weights: the file is refused, or the byte was white space and nothing has changed."""
    (length,) = struct.unpack("<Q", good[:8])
    position = data.draw(st.one_of(st.integers(0, length + 8), st.integers(0, len(good) - 1)))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[position]))
    path = tmp_path_factory.mktemp("flip") / "model.edge"
    path.write_bytes(good[:position] + bytes([value]) + good[position + 1 :])

    try:
        found = load(path)
    except FormatError:
        return
    assert good[position : position + 1].isspace()
    save(found, path)
    assert path.read_bytes() == good


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_noise_is_refused(data, tmp_path_factory):
    """Bytes that never were a model."""
    path = tmp_path_factory.mktemp("noise") / "model.edge"
    path.write_bytes(data)

    with pytest.raises(FormatError):
        load(path)


def test_a_newer_format_says_to_upgrade(good, read):
    """Before the checksum, whose rules may have changed with it."""
    with pytest.raises(FormatError, match="upgrade"):
        read(with_metadata(good, edge="2"))


@pytest.mark.parametrize("version", ["", "-1", "1.0", "9" * 5000, "²"])
def test_a_version_that_is_no_number_is_refused(good, read, version):
    """Python's int() takes more than it should, and long numbers take long."""
    with pytest.raises(FormatError, match="version"):
        read(with_metadata(good, edge=version))


@pytest.mark.parametrize("key", ["labels", "graph", "preprocess", "provenance"])
def test_an_entry_that_was_edited_is_found(good, read, key):
    """The checksum covers what is not a weight too."""
    entry = header(good)[0]["__metadata__"][key]

    with pytest.raises(FormatError, match="checksum"):
        read(with_metadata(good, **{key: entry + " "}))


@pytest.mark.parametrize("key", ["edge", "labels", "graph", "preprocess", "provenance", "sha256"])
def test_a_missing_entry_is_named(good, read, key):
    """As in a safetensors file of somebody else."""
    head, rest = header(good)
    del head["__metadata__"][key]

    with pytest.raises(FormatError, match=key):
        read(with_header(head, rest))


HOSTILE = {
    "labels": ["{}", "[1]", "null", "[" * 100_000, "[]", '["a"]'],
    "provenance": ["[]", "3", "{"],
    "preprocess": ["{}", "[]", '{"size": [16, 16]}', '{"size": [1e9, 1e9], "mean": [0], "std": [0]}'],
    "graph": [
        "{}", "null", "[]", '{"format": 99}', "[" * 100_000,
        '{"format": 1, "name": "x", "inputs": [], "params": [], "nodes": [], "outputs": ["y"], "updates": {}}',
    ],
}  # fmt: skip


@pytest.mark.parametrize(("key", "entry"), [(key, entry) for key, entries in HOSTILE.items() for entry in entries])
def test_a_hostile_entry_with_a_right_checksum_is_refused(good, read, monkeypatch, key, entry):
    """A checksum proves nothing about who wrote a file."""
    monkeypatch.setattr("edge_sdk.edge_file._digest", lambda *_: header(good)[0]["__metadata__"]["sha256"])

    with pytest.raises(FormatError):
        read(with_metadata(good, **{key: entry}))


def test_weights_that_the_graph_does_not_have_or_want_are_refused(model, good, read, monkeypatch):
    """A missing array, one of another shape, one of another type."""
    monkeypatch.setattr("edge_sdk.edge_file._digest", lambda *_: metadata["sha256"])
    metadata, tensors = header(good)[0]["__metadata__"], read_safetensors(good)
    name = next(name for name in sorted(tensors) if name.endswith("weight") and len(tensors[name]) > 1)
    without = {key: array for key, array in tensors.items() if key != name}

    for wrong in (None, tensors[name][:1], tensors[name].astype(np.float64)):
        arrays = without if wrong is None else {**without, name: wrong}
        with pytest.raises(FormatError, match=name):
            read(write_safetensors(arrays, metadata))


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, 100_000_001, 10_000])
def test_a_header_longer_than_the_file_takes_no_memory(read, length):
    """The length is compared with the file before anything is read."""
    tracemalloc.start()
    with pytest.raises(FormatError, match="header"):
        read(struct.pack("<Q", length) + b"{}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 5_000_000


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]},
        {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]},
        {"dtype": "nonsense", "shape": [1], "data_offsets": [0, 4]},
        {"shape": [1]},
        [],
    ],
)
def test_an_absurd_tensor_is_refused(good, read, entry):
    """Sizes, offsets and types that no file of this length has."""
    metadata = header(good)[0]["__metadata__"]

    with pytest.raises(FormatError):
        read(with_header({"__metadata__": metadata, "stem.conv.weight": entry}, b"\0" * 4))


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    """The message holds the path and the reason."""
    with pytest.raises(FormatError, match=r"nowhere\.edge"):
        load(tmp_path / "nowhere.edge")
    with pytest.raises(FormatError, match="cannot be read"):
        load(tmp_path)


def test_a_failed_save_leaves_the_old_file(good, tmp_path, monkeypatch):
    """The disk is full at the moment of syncing: the old bytes stay, and nothing else."""
    path = tmp_path / "model.edge"
    path.write_bytes(good)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        tiny_model(seed=1).save(path)

    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["model.edge"]


def test_the_public_names_save_and_load(model, tmp_path):
    """`model.save` and `edge.load`, as README has them."""
    model.save(tmp_path / "model.edge")

    assert edge.load(tmp_path / "model.edge").labels == model.labels


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx", "m.pth", "m.h5", "m.mlpackage"])
def test_a_model_is_not_saved_under_the_name_of_another_format(model, tmp_path, name):
    """A phone would be given an .edge file; the error names the function that was meant."""
    with pytest.raises(UsageError, match=r"edge\.export"):
        model.save(tmp_path / name)

    assert not list(tmp_path.iterdir())
