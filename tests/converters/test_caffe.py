"""Networks that Caffe itself defined, stored and ran (files/make_caffe_models.py) compute here what they did there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.converters import caffe
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.session import Session

FILES = Path(__file__).parent / "files" / "caffe"
NETWORKS = sorted(path.stem for path in FILES.glob("*.caffemodel"))


@pytest.fixture(scope="module")
def stored():
    """Inputs (n, c, h, w) and outputs of every network, and the mean image."""
    with np.load(FILES / "outputs.npz") as arrays:
        return dict(arrays)


def network(name):
    """A network of the folder as a Model."""
    return caffe.read(FILES / f"{name}.prototxt", FILES / f"{name}.caffemodel")


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_caffe(name, stored):
    """To 1e-5 of the largest, by the kernels of the processor; the naive ones agree."""
    model = network(name)
    x = np.ascontiguousarray(stored[f"{name}.x"].transpose(0, 2, 3, 1))
    wanted = stored[f"{name}.y"]

    for device in ("cpu", "reference"):
        found = Session(model.graph, model.workspace, device=device, batch=len(x)).run({"image": x})["logits"]

        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exported_file_computes_the_same(name, stored):
    """In the mobile runtime, from an open batch."""
    model = network(name)
    x = np.ascontiguousarray(stored[f"{name}.x"].transpose(0, 2, 3, 1))
    wanted = stored[f"{name}.y"]

    found = TFLiteModel(write(model.graph, model.workspace).data).invoke({"image": x})["logits"]

    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
