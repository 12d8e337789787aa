"""A run that cannot go on says why, and the corrected command may use its folder."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.errors import FormatError, UsageError


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 6)


def test_a_run_that_diverges_names_the_learning_rate(photos, tmp_path):
    """And the same folder takes the run with a smaller one."""
    with pytest.raises(UsageError, match="learning rate"):
        edge.fit(tiny_model(), photos, out=tmp_path / "run", epochs=3, batch_size=6, learning_rate=1e30)

    run = edge.fit(tiny_model(), photos, out=tmp_path / "run", epochs=1, batch_size=6, learning_rate=0.01)

    assert len(run.history) == 1


def test_weights_that_break_in_the_last_step_are_found(photos):
    """The loss of the last batch was finite; the step after it was not."""
    with pytest.raises(UsageError, match=r"infinite.*learning rate"):
        edge.fit(
            tiny_model(), photos, epochs=1, batch_size=14, validation=0.2, learning_rate=3e38, weight_decay=100.0,
            warmup_epochs=0,
        )  # fmt: skip


def test_a_run_with_an_epoch_is_not_overwritten(photos, tmp_path):
    """What was trained is kept until someone deletes it."""
    settings = {"batch_size": 6, "learning_rate": 0.01}
    edge.fit(tiny_model(), photos, out=tmp_path / "run", epochs=1, **settings)
    before = (tmp_path / "run" / "last.edge").read_bytes()

    with pytest.raises(UsageError, match="holds a run already"):
        edge.fit(tiny_model(), photos, out=tmp_path / "run", epochs=2, **settings)

    assert (tmp_path / "run" / "last.edge").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.tflite", "not a TFL3 file"),
        ("model.pth", "weights alone"),
        ("model.safetensors", "weights alone"),
        ("model.caffemodel", "half of a network"),
    ],
)
def test_a_file_for_other_software_is_named_as_such(name, message, tmp_path):
    """Its first bytes are no header of ours, and talk of headers helps nobody."""
    (tmp_path / name).write_bytes(bytes(np.arange(100, dtype=np.uint8)))

    with pytest.raises(FormatError, match=message):
        edge.load(tmp_path / name)
