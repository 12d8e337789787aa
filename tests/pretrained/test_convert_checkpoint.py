"""`edge convert` gives a checkpoint the graph, labels and preprocessing of its network."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.cli.main import main


def test_a_checkpoint_of_a_named_network(tmp_path, state_dict, write_checkpoint, capfd):
    """The same model as by name in Python, in one file."""
    checkpoint = write_checkpoint(tmp_path / "weights.pth", state_dict("resnet18"))
    arguments = ["convert", str(checkpoint), str(tmp_path / "a.edge"), "--model", "resnet18", "--image-size", "64"]

    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])

    wanted = pretrained.load("resnet18", weights=checkpoint, image_size=64)
    found, facts = edge.load(tmp_path / "a.edge"), json.loads(capfd.readouterr().out)
    assert not end.value.code
    assert (facts["format"], facts["architecture"], facts["preprocess_from"]) == (
        "pth",
        "resnet18",
        "as the zoo has it",
    )
    assert (found.preprocess, found.labels) == (wanted.preprocess, wanted.labels)
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(found.run(x), wanted.run(x))
