"""A GPU with little memory: what was planned is what is taken, and what does not fit is refused before it starts."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_cache import own_cache
from tiny_models import tiny_model, write_photos

from edge_sdk.cli.main import main
from edge_sdk.errors import UsageError
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import MEMORY_VARIABLE, EmulatedDriver
from edge_sdk.memory_need import DeviceMemoryError
from edge_sdk.training.fit import fit
from edge_sdk.training.step import training_session

pytestmark = pytest.mark.emulated

FEEDS = {"image": np.zeros((4, 16, 16, 3), np.float32), "label": np.zeros(4, np.int32)}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> EmulatedDriver:
    """The emulated device, whose memory a test may limit."""
    emulated = current_driver()
    assert isinstance(emulated, EmulatedDriver)
    gc.collect()
    monkeypatch.setattr(emulated, "memory_bytes", None)
    return emulated


def limit(driver: EmulatedDriver, size: int) -> None:
    """Leave this much beside what other tests still hold."""
    driver.memory_bytes = None
    gc.collect()
    driver.memory_bytes = size + driver.reserve + driver.used_bytes


def test_what_is_planned_is_what_is_taken(driver: EmulatedDriver) -> None:
    """Arena, parameters, optimizer state and staging to the byte; beside it kernels' tables, within their reserve."""
    before = driver.used_bytes

    session = training_session(tiny_model(), 4, "adamw", device="gpu")
    session.run(FEEDS)

    taken = driver.used_bytes - before
    assert session.need.total <= taken <= session.need.total + driver.reserve
    assert session.need.staging >= 2 * 4 * (16 * 16 * 3 * 4)
    assert session.plan.peak_bytes == session.need.total


def test_a_batch_that_fits_exactly_trains_and_the_next_is_refused(driver: EmulatedDriver) -> None:
    """With memory for a batch of 4, that one trains; of 5 the message has the numbers."""
    need = training_session(tiny_model(), 4, device="gpu").need
    limit(driver, need.total)

    session = training_session(tiny_model(), 4, device="gpu")
    session.run(FEEDS)
    del session
    with pytest.raises(DeviceMemoryError) as refused:
        training_session(tiny_model(), 5, device="gpu")

    assert refused.value.largest_batch == 4
    assert "device 'gpu': tiny_training in batches of 5 needs " in str(refused.value)
    assert "optimizer state" in str(refused.value)


def test_weights_that_are_there_already_are_not_asked_for_again(driver: EmulatedDriver) -> None:
    """A second Session on the same workspace shares the parameters, so it needs its arena and staging alone."""
    first = training_session(tiny_model(), 4, device="gpu")
    limit(driver, first.need.total - first.need.parameters - first.need.state)

    second = type(first)(first.graph, first.workspace, "gpu")

    assert second.need == first.need


@pytest.mark.parametrize("more", [{}, {"freeze": "backbone"}, {"distillation": 0.5}])
def test_a_run_that_is_started_is_not_stopped_by_memory(
    driver: EmulatedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """Validation, features and a teacher are planned too: with what is asked for and no more, epochs end."""
    monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / "cache")))
    photos = write_photos(tmp_path / "photos", 6)
    settings = {"epochs": 2, "batch_size": 4, "device": "gpu", **more}
    settings["teacher"] = tiny_model(1) if "distillation" in more else None
    limit(driver, 0)
    with pytest.raises(DeviceMemoryError) as refused:
        fit(tiny_model(), photos, **settings)
    wanted = refused.value.need.total + refused.value.room.kept
    del refused

    limit(driver, wanted - 256)
    with pytest.raises(DeviceMemoryError, match="are for validation and features"):
        fit(tiny_model(), photos, **settings)
    limit(driver, wanted)
    run = fit(tiny_model(), photos, **settings)

    assert len(run.history) == 2


def test_the_command_line_refuses_in_one_line(
    driver: EmulatedDriver, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No folder is made; the exit code is that of a mistake, and the line ends with what would fit."""
    tiny_model().save(tmp_path / "tiny.edge")
    photos = write_photos(tmp_path / "photos", 8)
    limit(driver, 150_000)
    command = ["train", photos, "--model", tmp_path / "tiny.edge", "--out", tmp_path / "run", "--device", "gpu"]

    with pytest.raises(SystemExit) as end:
        main([str(part) for part in [*command, "--batch", 16]])

    (line,) = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith("edge: device 'gpu': tiny_training in batches of 16 needs ")
    assert "the largest batch that fits is " in line
    assert not (tmp_path / "run").exists()


def test_the_limit_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """EDGE_GPU_MEMORY counts bytes; what is none is refused."""
    monkeypatch.setenv(MEMORY_VARIABLE, "1000000")
    small = EmulatedDriver()
    taken = small.allocate(300)
    monkeypatch.setenv(MEMORY_VARIABLE, "1 GB")

    assert (small.free_bytes(), small.taken(300), taken.nbytes) == (1_000_000 - 512, 512, 300)
    with pytest.raises(MemoryError):
        small.allocate(1_000_000)
    with pytest.raises(UsageError, match="in bytes, not '1 GB'"):
        EmulatedDriver()
