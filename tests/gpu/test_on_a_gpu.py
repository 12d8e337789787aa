"""What only a real GPU can show: that streams, pinned memory and captured graphs do what their stand-ins do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu.carried_runs import Program
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.training.step import training_session

pytestmark = pytest.mark.gpu

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 6, "learning_rate": 0.05, "seed": 3}


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_every_run_has_its_own_inputs_and_outputs(ahead: int) -> None:
    """The runs of test_transfer.py, of which all but the first are a captured graph."""
    assert Program(current_driver()).wrong(ahead) == []


def test_a_run_has_the_figures_of_the_cpu(tmp_path: Path) -> None:
    """Photos as bytes, steps launched ahead, validation on the device."""
    photos = write_photos(tmp_path / "photos")

    wanted = edge.fit(tiny_model(), photos, **SETTINGS)
    found = edge.fit(tiny_model(), photos, device="gpu", out=tmp_path / "run", **SETTINGS)

    assert [m.loss for m in found.history] == pytest.approx([m.loss for m in wanted.history], abs=1e-3)
    assert all(m.device.startswith("gpu (") for m in found.history)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """No result depends on which thread or copy comes first."""
    photos = write_photos(tmp_path / "photos")

    runs = [edge.fit(tiny_model(), photos, device="gpu", **SETTINGS) for _ in range(2)]

    assert runs[0].model.workspace.digest() == runs[1].model.workspace.digest()


def test_what_is_planned_is_what_is_taken() -> None:
    """Free memory sinks by the plan, and by no more than the driver's reserve beside it.

    A driver takes memory by blocks of 2 MiB, of which one may have been begun before.
    """
    driver = current_driver()
    before = driver.free_bytes()

    session = training_session(tiny_model(), 512, "adamw", device="gpu")
    feeds = {"image": np.zeros((512, 16, 16, 3), np.float32), "label": np.zeros(512, np.int32)}
    for _ in range(3):
        session.run(feeds)
    after = driver.free_bytes()

    assert before is not None
    assert after is not None
    assert session.need.total - (2 << 20) <= before - after <= session.need.total + driver.reserve
