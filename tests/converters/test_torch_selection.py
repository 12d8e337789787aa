"""Which of a checkpoint's tensors are taken: scripts keep the weights in several places, beside other tensors."""

from __future__ import annotations

import pytest

from edge_sdk.converters.torch.selection import select_tensors
from edge_sdk.converters.torch.symbols import Storage, StorageView, Tensor
from edge_sdk.errors import FormatError


def tensor(key: str) -> Tensor:
    """A tensor of three elements in a storage of its own."""
    return Tensor(StorageView(Storage(key, "float32", 3), 0, 3), 0, (3,), (1,))


WANTED = {"conv.weight": tensor("wanted")}
OTHER = {"conv.weight": tensor("other")}
OPTIMIZER = {"state": {"0": {"exp_avg": tensor("moment")}}, "param_groups": [{"lr": 0.1}], "buffer": tensor("buffer")}


@pytest.mark.parametrize(
    "checkpoint",
    [
        WANTED,
        {"state_dict": WANTED, "epoch": 3, "best_acc1": 0.75, "optimizer": OPTIMIZER},  # PyTorch's ImageNet example
        {"model": WANTED, "optimizer": OPTIMIZER, "model_ema": OTHER, "scaler": {"scale": tensor("s")}},  # torchvision
        {"arch": "resnet18", "state_dict": WANTED, "state_dict_ema": OTHER},  # timm
        {"state_dict": WANTED, "optimizer_states": [OPTIMIZER], "callbacks": {"best": tensor("b")}},  # Lightning
        {"epoch": 3, "model_state_dict": WANTED, "optimizer_state_dict": OPTIMIZER, "loss": tensor("loss")},  # tutorial
        {"net": WANTED, "acc": 0.9},
        {"model": {"state_dict": WANTED, "step": 3}},
        {"my_own_name": WANTED, "epoch": 3},
        {**WANTED, "epoch": 3, "history": {"loss": [1.0, 0.5]}},
        {"ema": OTHER, "model": WANTED},
    ],
)
def test_the_weights_are_found(checkpoint):
    """Under any of the usual names, or where there is nothing else."""
    assert select_tensors(checkpoint) == WANTED


@pytest.mark.parametrize(
    ("checkpoint", "part"),
    [({"model": OTHER, "model_ema": WANTED}, "model_ema"), ({"a": {"b": WANTED}, "c": OTHER}, "a.b"), (WANTED, "")],
)
def test_a_part_is_chosen_by_its_place(checkpoint, part):
    """Keys joined by dots; the checkpoint itself has none."""
    assert select_tensors(checkpoint, part) == WANTED


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ([WANTED], "the checkpoint holds a list; expected a dictionary of tensors"),
        ({"epoch": 3, "args": None}, "no named tensors; it holds 'epoch', 'args'"),
        ({}, "it holds nothing"),
        ({"a": WANTED, "b": OTHER}, r"several sets of tensors: 'a' \(1 tensors\), 'b' \(1 tensors\)"),
        ({str(index): dict(WANTED) for index in range(20)}, "'7' .* and 12 more"),
        ({"\33[2J" * 30: dict(WANTED), "b": OTHER}, r"'\\x1b\[2J"),
        ({3: WANTED}, "no named tensors"),
    ],
)
def test_no_choice_is_made_in_the_dark(checkpoint, message):
    """The message lists what there is, quoted and cut."""
    with pytest.raises(FormatError, match=message):
        select_tensors(checkpoint)


def test_a_dictionary_in_itself_ends():
    """Only the first levels are looked at, and each dictionary once."""
    checkpoint: dict[str, object] = {"model": {"model": {}}}
    checkpoint["model"]["model"]["model"] = checkpoint

    with pytest.raises(FormatError, match="no named tensors"):
        select_tensors(checkpoint)
