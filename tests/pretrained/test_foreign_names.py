"""Checkpoints of timm and transformers compute here what they compute there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge_sdk import pretrained
from edge_sdk.pretrained.matching import match, match_shapes

FILES = Path(__file__).parent / "files"
LARGE = {"vgg11", "vgg16_bn", "efficientnet_lite4", "resnet50"}
STORED = json.loads((FILES / "foreign_names.json").read_text("utf-8"))["networks"]


@pytest.fixture(scope="module")
def tensors(formulas):
    """The function that turns stored layers into keys and shapes."""
    spec = importlib.util.spec_from_file_location("make_foreign_names", FILES / "make_foreign_names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tensors


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row['library']}-{row['theirs']}")
def test_names_and_shapes_are_recognised(row, tensors):
    """The keys and shapes that the library itself gave are a network of the zoo, and whole."""
    found = match_shapes(tensors(row["layers"]))

    assert (found[0].name, found[0].library, found[0].classes) == (row["ours"], row["library"], 10)
    assert found[0].loads
    assert len(found) == 1 or found[1].score < 1


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=pytest.mark.slow if row["ours"] in LARGE else ()) for row in STORED],
    ids=lambda row: f"{row['library']}-{row['theirs']}",
)
def test_logits_are_the_librarys(row, tensors, formulas, tmp_path):
    """A safetensors file of formula weights gives the logits that the library gave in float64."""
    path, size, wanted = tmp_path / "weights.safetensors", tuple(row["size"]), np.asarray(row["logits"])
    save_file({key: formulas.formula_weight(key, shape) for key, shape in tensors(row["layers"]).items()}, path)

    model = pretrained.load(match(path)[0].name, weights=path, image_size=size)
    logits = model.run(formulas.photos(row["ours"], size))
    path.unlink()

    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_pixels_are_fed_as_the_library_does(tensors, formulas, tmp_path):
    """MobileNetV2 of transformers wants photos from -1 to 1, torchvision's ImageNet's mean and deviation."""
    row = next(row for row in STORED if row["theirs"] == "MobileNetV2")
    path = tmp_path / "weights.safetensors"
    save_file({key: formulas.formula_weight(key, shape) for key, shape in tensors(row["layers"]).items()}, path)

    preprocess = pretrained.load("mobilenetv2", weights=path).preprocess

    assert (preprocess.mean, preprocess.std) == ((127.5,) * 3, (127.5,) * 3)
