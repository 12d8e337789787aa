"""`match` says of a file's names and shapes which network it is of; `load` says it of a file of another network."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge_sdk import pretrained
from edge_sdk.cli.zoo_match import command
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.pretrained.checkpoint_form import forms
from edge_sdk.pretrained.matching import match_shapes


def shapes_of(name: str, width: float = 1.0, form: int = 0) -> dict[str, tuple[int, ...]]:
    """The shapes of a checkpoint of a network."""
    return dict(forms(name, width)[form].shapes)


@pytest.mark.parametrize("name", list(ZOO))
def test_every_network_is_recognised(name):
    """In each library's names; where two networks have the same tensors, both are named."""
    for form in forms(name):
        found = match_shapes(form.shapes)

        assert found[0].score == 1
        assert found[0].loads
        assert name in [one.name for one in found if one.score == 1]
        assert found[0].classes == 1000


def test_torchvision_keys_are_recognised(state_dict):
    """The stored keys and shapes are torchvision's own, the counters of batch norms among them."""
    for name in ("mobilenetv2", "resnet18", "resnet50"):
        found = match_shapes({key: array.shape for key, array in state_dict(name).items()})

        assert (found[0].name, found[0].library, found[0].classes, found[0].loads) == (name, "published", 10, True)
        assert str(found[0]) == f"{name} with 10 classes"


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "net.backbone."])
def test_prefixes_of_wrappers_are_left_out(prefix):
    """What DataParallel, Lightning and torch.compile put before every key."""
    shapes = {f"{prefix}{key}": shape for key, shape in shapes_of("resnet34").items()} | {"n_averaged": ()}

    assert match_shapes(shapes)[0].name == "resnet34"
    assert match_shapes(shapes)[0].loads


@pytest.mark.parametrize(("name", "width"), [("mobilenetv2", 0.5), ("mobilenetv2", 1.4), ("mnasnet1_0", 0.75)])
def test_a_width_is_found(name, width):
    """The keys are the network's, and its channels those of a width multiplier."""
    found = match_shapes(shapes_of(name, width))[0]

    assert (found.score, found.classes) == (1, 1000)
    assert (found.name, found.width) in {(name, width), (f"mnasnet0_{f'{width:g}'[2:]}", 1)}


def test_keys_of_an_older_torchvision_are_recognised():
    """It published DenseNet before a dot was left out of the names of its layers."""
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", key): shape for key, shape in shapes_of("densenet121").items()
    }

    found = match_shapes(old)[0]

    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert (found.name, found.score, found.loads) == ("densenet121", 1, True)


def test_differences_are_counted():
    """The nearest network is named, with the tensors that are missing, misshapen or not its own."""
    shapes = shapes_of("resnet18")
    shapes["conv1.weight"] = (64, 1, 7, 7)
    del shapes["bn1.bias"]
    shapes["extra.weight"] = (3,)

    found = match_shapes(shapes)[0]

    assert found.name == "resnet18"
    assert (found.missing, found.misshapen, found.unknown) == (("bn1.bias",), ("conv1.weight",), ("extra.weight",))
    assert not found.loads
    assert found.score == pytest.approx(100 / 103)


@pytest.mark.parametrize("bias", [(7,), (0,), ()])
def test_a_classifier_is_of_one_piece(bias):
    """Weight and bias count the same classes, at least one."""
    found = match_shapes({**shapes_of("resnet18"), "fc.weight": (10, 512), "fc.bias": bias})[0]

    assert (found.name, found.classes, found.misshapen, found.loads) == ("resnet18", 10, ("fc.bias",), False)


def test_shapes_are_enough():
    """A network is found whose layers are called as nowhere else."""
    shapes = {f"layer_{index}": shape for index, shape in enumerate(shapes_of("resnet50").values())}

    found = match_shapes(shapes)[0]

    assert (found.name, found.library, found.loads) == ("resnet50", "unknown", False)
    assert str(found) == "resnet50 with 1000 classes, by its shapes; the names are of no known library"


def test_something_else_resembles_nothing():
    """A file of other tensors gives no match, and no error."""
    assert match_shapes({"a.weight": (3, 4), "b.weight": (5,)}) == ()
    assert match_shapes({}) == ()


def test_a_file_without_a_classifier(tmp_path, state_dict, write_checkpoint):
    """It loads when the number of classes is said, with a classifier that starts anew."""
    state = {key: array for key, array in state_dict("resnet18").items() if not key.startswith("fc.")}
    path = write_checkpoint(tmp_path / "backbone.pth", state)

    assert str(pretrained.match(path)[0]) == "resnet18 with no classifier"
    model = pretrained.load("resnet18", weights=path, num_classes=3, image_size=32)
    assert model.workspace["head.weight"].shape == (3, 512)
    np.testing.assert_array_equal(model.workspace["stem.norm.mean"], state["bn1.running_mean"])
    with pytest.raises(UsageError, match=r"backbone\.pth: there is no classifier in it; .*num_classes="):
        pretrained.load("resnet18", weights=path)


def test_integers_are_no_weights(tmp_path, state_dict):
    """A quantized file has the names and shapes of the network, and is refused by its dtype."""
    state = dict(state_dict("resnet18"))
    state["conv1.weight"] = (state["conv1.weight"] * 100).astype(np.int8)
    path = tmp_path / "quantized.safetensors"
    save_file(state, path)

    with pytest.raises(FormatError, match=r"tensor 'conv1\.weight' is int8, wanted floating point"):
        pretrained.load("resnet18", weights=path)


def test_half_precision_is_widened(tmp_path, state_dict):
    """A file of float16 gives float32 weights of the same values."""
    state = {key: array.astype(np.float16) for key, array in state_dict("resnet18").items() if array.ndim}
    path = tmp_path / "half.safetensors"
    save_file(state, path)

    workspace = pretrained.load("resnet18", weights=path, image_size=32).workspace

    assert workspace["stem.conv.weight"].dtype == np.float32
    np.testing.assert_array_equal(workspace["stem.conv.weight"], state["conv1.weight"].transpose(0, 2, 3, 1))


def test_the_command_prints_what_it_found(tmp_path, state_dict, write_checkpoint, capsys):
    """A table for people and JSON for machines."""
    path = write_checkpoint(tmp_path / "mine.pth", state_dict("resnet18"))

    command([str(path)], standalone_mode=False)
    table = capsys.readouterr().out
    command([str(path), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)

    assert "mine.pth: resnet18 with 10 classes\n" in table
    assert "load it with pretrained.load('resnet18', weights=" in table
    assert (found[0]["name"], found[0]["library"], found[0]["classes"], found[0]["loads"]) == (
        "resnet18", "published", 10, True,
    )  # fmt: skip


def test_the_command_says_when_there_is_nothing(tmp_path):
    """A file of other tensors is no mistake of the reader's, but the answer is none."""
    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path)

    with pytest.raises(FormatError, match=r"other\.safetensors: it resembles no network of the zoo"):
        command([str(path)], standalone_mode=False)
