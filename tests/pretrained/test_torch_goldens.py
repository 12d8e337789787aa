"""The zoo's networks compute what they do in PyTorch: names, layouts, paddings and formulas of every layer."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk import pretrained
from edge_sdk.errors import FormatError

LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet101", "resnet152")]
NETWORKS = ["alexnet", "efficientnet_lite0", "mobilenetv2", "resnet18", "resnet34", "resnet50", "vgg16", *LARGE]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_equal_pytorch(name, tmp_path, state_dict, write_checkpoint, goldens, formulas):
    """A checkpoint of formula weights, read as a user's file, gives the logits that PyTorch gave in float64."""
    path = write_checkpoint(tmp_path / "file.pth", state_dict(name))
    size = tuple(goldens[name]["size"])
    wanted = np.asarray(goldens[name]["logits"])

    model = pretrained.load(name, weights=path, image_size=size)
    logits = model.run(formulas.photos(name, size))

    assert logits.shape == wanted.shape
    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stored_tensor_is_used(name, state_dict):
    """The networks have the published tensors, each once, but for the counter that inference does not read."""
    stored = {key: value for key, value in state_dict(name).items() if not key.endswith("num_batches_tracked")}

    graph = pretrained.load(name, weights=None, num_classes=10).graph

    assert len(graph.params) == len(stored)
    assert sorted(graph.specs[v].elements for v in graph.params) == sorted(array.size for array in stored.values())


def test_a_new_head_keeps_the_backbone(tmp_path, state_dict, write_checkpoint):
    """With another number of classes the classifier starts anew and every other weight is the checkpoint's."""
    path = write_checkpoint(tmp_path / "file.pth", state_dict("resnet18"))

    trained = pretrained.load("resnet18", weights=path, image_size=64).workspace
    replaced = pretrained.load("resnet18", weights=path, image_size=64, num_classes=3).workspace

    assert replaced["head.weight"].shape == (3, 512)
    assert np.abs(replaced["head.weight"]).max() < 0.05
    assert not replaced["head.bias"].any()
    backbone = [name for name in trained if not name.startswith("head.")]
    assert len(backbone) == 100
    assert all(np.array_equal(trained[name], replaced[name]) for name in backbone)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, state_dict, write_checkpoint):
    """The message names both networks' difference and the file."""
    path = write_checkpoint(tmp_path / "mine.pth", state_dict("resnet18"))

    with pytest.raises(
        FormatError, match=r"mine\.pth: not a checkpoint of mobilenetv2; it looks like resnet18 with 10 classes"
    ):
        pretrained.load("mobilenetv2", weights=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer3.1.bn2.running_var"), r"'layer3\.1\.bn2\.running_var' is missing \(1 keys"),
        (lambda state: state.update(extra=np.zeros(3, np.float32)), r"'extra' is unknown"),
        (
            lambda state: state.update({"conv1.weight": np.zeros((64, 3, 5, 5), np.float32)}),
            r"'conv1\.weight' is \[64, 3, 5, 5\], wanted \[64, 3, 7, 7\] \(0 keys missing, 1 of another",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change, message, tmp_path, state_dict, write_checkpoint):
    """Missing, unknown and misshapen tensors are named and counted."""
    state = state_dict("resnet18")
    change(state)
    path = write_checkpoint(tmp_path / "file.pth", state)

    with pytest.raises(FormatError, match=message):
        pretrained.load("resnet18", weights=path)
