"""The zoo's networks compute what they do in PyTorch: names, layouts, paddings and formulas of every layer."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from edge_sdk import pretrained
from edge_sdk.errors import FormatError
from edge_sdk.pretrained import architectures

# Half of the networks have a smaller sibling of the same construction, and run only among the slow tests.
QUICK = (
    "alexnet", "densenet121", "efficientnet_lite0", "efficientnet_lite2", "googlenet", "googlenet_caffe", "mnasnet0_5",
    "mobilenet_v1_0_25", "mobilenet_v3_large", "mobilenet_v3_small", "mobilenetv2", "resnet18", "resnet50",
    "resnet50_v1", "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "squeezenet1_0", "squeezenet1_1",
)  # fmt: skip
NETWORKS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in pretrained.list_models()]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_equal_pytorch(name, tmp_path, state_dict, write_checkpoint, goldens, formulas):
    """A checkpoint of formula weights, read as a user's file, gives the logits that PyTorch gave in float64.

    At two image sizes each.
    """
    path = write_checkpoint(tmp_path / "file.pth", state_dict(name))
    cases = goldens[name]["cases"]

    assert len(cases) == 2
    for case in cases:
        size, wanted = tuple(case["size"]), np.asarray(case["logits"])
        logits = pretrained.load(name, weights=path, image_size=size).run(formulas.photos(name, size))
        assert logits.shape == wanted.shape
        assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", pretrained.list_models())
def test_every_stored_tensor_is_used(name, formulas, goldens):
    """The networks have the published tensors, each once, but for the counter that inference does not read."""
    shapes = formulas.unpacked(goldens[name]["layers"])
    stored = [shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")]

    graph, _ = architectures.ZOO[name].build(10, (64, 64), seed=0)

    assert len(graph.params) == len(stored)
    assert sorted(graph.specs[v].elements for v in graph.params) == sorted(map(math.prod, stored))


def test_training_tensors_of_googlenet_are_not_read(tmp_path, state_dict, write_checkpoint):
    """The published checkpoint holds auxiliary classifiers, which inference does not need."""
    state = state_dict("googlenet")
    auxiliary = {"aux1.fc1.weight": np.zeros((4, 4), np.float32), "aux2.conv.bn.bias": np.zeros(4, np.float32)}
    path = write_checkpoint(tmp_path / "file.pth", {**state, **auxiliary})

    model = pretrained.load("googlenet", weights=path, image_size=32)

    assert np.array_equal(model.workspace["head.weight"], state["fc.weight"])


def test_old_keys_of_densenet_are_understood(tmp_path, state_dict, write_checkpoint):
    """Torchvision published its weights when layers were called norm.1 and conv.2."""
    state = state_dict("densenet121")
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): array for key, array in state.items()}
    path = write_checkpoint(tmp_path / "file.pth", old)

    model = pretrained.load("densenet121", weights=path, image_size=32)

    assert "features.denseblock4.denselayer16.norm.2.weight" in old
    scale = model.workspace["blocks.4.16.norm2.scale"]
    assert np.array_equal(scale, state["features.denseblock4.denselayer16.norm2.weight"])


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
