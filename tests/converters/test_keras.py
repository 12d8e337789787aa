"""Weights that Keras itself wrote (files/make_keras_files.py), in all of its forms, and what is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.converters.keras import keras_state
from edge_sdk.converters.keras.hdf5 import Dataset
from edge_sdk.converters.keras.weights import _of_keras_2
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.shape import Flatten
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace

FILES = Path(__file__).parent / "files" / "keras"
FORMS = ("small.h5", "small_weights.h5", "small.weights.h5", "small.keras")
IMAGE = {"predictions": (12, 12, 8)}


@pytest.fixture(scope="module")
def stored():
    """Keras's weights by its own paths, an input (n, h, w, c) and the network's output."""
    with np.load(FILES / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_keras_s_in_the_layouts_of_pytorch(form, stored):
    """Every number of every form."""
    state = dict(keras_state(FILES / form))

    kernel, depthwise = stored["block1_conv1/kernel"], stored["dw/kernel"]
    assert set(state) == {
        "block1_conv1.weight", "block1_conv1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
        "dw.weight", "dw.bias", "predictions.weight", "predictions.bias",
    }  # fmt: skip
    np.testing.assert_array_equal(state["block1_conv1.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(state["bn1.running_mean"], stored["bn1/moving_mean"])
    np.testing.assert_array_equal(state["bn1.running_var"], stored["bn1/moving_variance"])
    np.testing.assert_array_equal(state["bn1.weight"], stored["bn1/gamma"])
    np.testing.assert_array_equal(state["predictions.weight"], stored["predictions/kernel"].T)
    if form not in ("small.h5", "small_weights.h5"):  # there the class of a layer with several filters is not known
        np.testing.assert_array_equal(state["dw.weight"], depthwise.transpose(2, 3, 0, 1).reshape(8, 1, 3, 3))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/block1_conv1/block1_conv1_W_1:0", "block1_conv1.weight"),  # VGG, written by Keras 1
        ("/block1_conv1/block1_conv1_b_1:0", "block1_conv1.bias"),
        ("/bn_conv1/bn_conv1_running_std_1:0", "bn_conv1.running_var"),
        ("/conv1_bn/conv1_bn/moving_variance:0", "conv1_bn.running_var"),  # Keras 2
        ("/model_weights/conv_dw_1/conv_dw_1/depthwise_kernel:0", "conv_dw_1.weight"),
        ("/model_weights/resnet50/conv1_conv/kernel:0", "conv1_conv.weight"),  # a network within another
        ("/optimizer_weights/Adam/conv1/kernel/m:0", ""),
        ("/lambda/lambda/state:0", ""),
    ],
)
def test_weights_of_older_files_are_known_by_their_paths(path, key):
    """The names that Keras 1 and 2 gave weights in the files that keras.applications publishes."""
    assert _of_keras_2(path, Dataset((3, 3, 4, 8), "<f4", 0, 1152))[0] == key


def test_a_network_with_these_weights_computes_what_keras_does(stored):
    """Convolution, batch norm, depthwise convolution, and a dense layer whose columns are brought into order."""
    state = keras_state(FILES / "small.keras", IMAGE)
    dense = state["predictions.weight"].reshape(5, 8, 12, 12).transpose(0, 2, 3, 1).reshape(5, -1)
    arrays = {
        "w": state["block1_conv1.weight"].transpose(0, 2, 3, 1), "b": state["block1_conv1.bias"],
        "scale": state["bn1.weight"], "offset": state["bn1.bias"],
        "mean": state["bn1.running_mean"], "variance": state["bn1.running_var"],
        "dw": state["dw.weight"].transpose(1, 2, 3, 0), "db": state["dw.bias"],
        "dense": dense, "bias": state["predictions.bias"],
    }  # fmt: skip
    g = Builder("small")
    x = g.input("x", Spec(stored["x"].shape))
    p = {name: g.param(name, Spec(array.shape)) for name, array in arrays.items()}
    y = g.add(Conv2D(), x, p["w"], p["b"])
    y = g.add(BatchNorm(1e-3), y, p["scale"], p["offset"], p["mean"], p["variance"])
    y = g.add(DepthwiseConv2D(), y, p["dw"], p["db"])
    y = g.add(Linear(), g.add(Flatten(), y), p["dense"], p["bias"], name="y")
    workspace = Workspace({name: np.ascontiguousarray(array) for name, array in arrays.items()})

    found = Session(g.build(y), workspace, device="reference").run({"x": stored["x"]})["y"]

    assert np.abs(found - stored["y"]).max() <= 1e-5 * np.abs(stored["y"]).max()


def test_arrays_are_views_of_the_file():
    """Nothing is copied until it is used."""
    state = keras_state(FILES / "small.h5")

    assert not state["block1_conv1.weight"].flags.owndata
    assert not state["block1_conv1.weight"].flags.writeable


def test_an_old_keras_3_archive_is_read_by_its_definition(tmp_path):
    """Where groups do not say their layers' names, the definition's order of layers does."""
    with zipfile.ZipFile(FILES / "small.keras") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    nameless = entries["model.weights.h5"].replace(b"name\0", b"nome\0")
    assert nameless != entries["model.weights.h5"]
    path = tmp_path / "old.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**entries, "model.weights.h5": nameless}.items():
            archive.writestr(name, data)

    assert set(keras_state(path)) == set(keras_state(FILES / "small.keras"))
    (tmp_path / "old.weights.h5").write_bytes(nameless)
    with pytest.raises(FormatError, match=r"does not say its layer's name.*give the \.keras file"):
        keras_state(tmp_path / "old.weights.h5")


def _with(data, at, number, size=8):
    return data[:at] + number.to_bytes(size, "little") + data[at + size :]


def test_a_group_that_contains_itself_is_refused(tmp_path):
    """A cycle is met once."""
    data = (FILES / "small.h5").read_bytes()
    root = struct.unpack_from("<Q", data, 24 + 40)[0]
    leaf = data.index(b"SNOD")
    path = tmp_path / "cycle.h5"
    path.write_bytes(_with(data, leaf + 8 + 8, root))

    with pytest.raises(FormatError, match="leads to the same object twice"):
        keras_state(path)


def test_a_soft_link_is_refused(tmp_path):
    """Nothing is looked for under another name or in another file."""
    data = (FILES / "small.h5").read_bytes()
    path = tmp_path / "soft.h5"
    path.write_bytes(_with(data, data.index(b"SNOD") + 8 + 16, 2, 4))

    with pytest.raises(FormatError, match="soft link"):
        keras_state(path)


def test_an_archive_of_zeros_without_end_is_refused(tmp_path):
    """What an entry claims is compared with the archive before memory is taken."""
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\0" * 10_000_000)

    with pytest.raises(FormatError, match="claims 10000000 bytes"):
        keras_state(path)


def test_what_is_not_of_keras_is_refused(tmp_path):
    """An empty file, another format, an archive of something else, no file at all."""
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("data.pkl", b"")
    for content in (b"", b"not HDF5 at all", other.getvalue()):
        path = tmp_path / "other.h5"
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"other\.h5"):
            keras_state(path)
    with pytest.raises(UsageError, match="cannot be read"):
        keras_state(tmp_path / "missing.h5")
    with pytest.raises(KeyError, match=r"did you mean 'bn1\.weight'"):
        keras_state(FILES / "small.h5")["bn1.weigth"]
