"""Loading takes one copy of the weights: no initial ones beside them, and the file's pages are given back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from edge_sdk import pretrained
from edge_sdk.pretrained.architectures import ZOO

SCRIPT = Path(__file__).with_name("load_in_little_memory.py")
STATUS = Path("/proc/self/status")
MOST = 1.3


@pytest.mark.skipif(
    not STATUS.is_file() or "RssAnon" not in STATUS.read_text("ascii"), reason="the memory is counted as Linux tells it"
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_the_peak_is_little_more_than_the_file(ending, tmp_path, state_dict, write_checkpoint):
    """At most 1.3 times the file of 102 MB, with the mapped file's pages and all of the program's own."""
    path = tmp_path / f"resnet50.{ending}"
    if ending == "pth":
        write_checkpoint(path, state_dict("resnet50"))
    else:
        save_file(state_dict("resnet50"), path)

    result = subprocess.run([sys.executable, SCRIPT, "resnet50", path], capture_output=True, text=True, check=True)
    size = path.stat().st_size
    path.write_bytes(b"")
    took = json.loads(result.stdout)

    assert took["name"] == "resnet50"
    assert 0.9 * size < took["own"] < MOST * size
    assert took["all"] < MOST * size


def test_initial_weights_are_drawn_when_they_are_asked_for():
    """The graph and its shapes are there at once; the arrays depend on seed and name, not on when they are drawn."""
    _, first = ZOO["resnet18"].build(10, (32, 32), 0)
    _, second = ZOO["resnet18"].build(10, (32, 32), 0)

    backwards = {name: second[name].sum() for name in reversed(list(second))}

    assert list(first) == list(second)
    assert all(first[name].sum() == backwards[name] for name in first)
    assert first["head.weight"] is first["head.weight"]
    assert pretrained.load("resnet18", weights=None, num_classes=10, image_size=32).workspace.digest() == first.digest()
