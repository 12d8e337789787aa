"""`fit`, `evaluate` and the command line on device "gpu": the CPU's figures, exact resume, nothing lost in flight."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_cache import own_cache
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.batching import piece_size
from edge_sdk.cli.main import main
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.training.fit import BEST, METRICS, Interrupted, Silent

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 3, "learning_rate": 0.05, "seed": 3}


def device() -> str:
    """What a run says of the device."""
    return f"gpu ({current_driver().description})"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("photos"), 4)


def close(history: Any, wanted: Any) -> bool:
    """Whether losses are within 1e-4 and shares of photos the same."""
    same = all(
        (mine.train_accuracy, mine.validation_accuracy) == (theirs.train_accuracy, theirs.validation_accuracy)
        for mine, theirs in zip(history, wanted, strict=True)
    )
    return same and [m.loss for m in history] == pytest.approx([m.loss for m in wanted], abs=1e-4)


class Steps(Silent):
    """Notes every step, and presses Ctrl-C after some."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self.seen: list[tuple[int, int]] = []

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Count."""
        self.seen.append((epoch, batch))
        if len(self.seen) == self.last:
            raise KeyboardInterrupt


@pytest.mark.parametrize("more", [{}, {"optimizer": "adamw", "freeze": "backbone"}, {"augment": "crop"}])
def test_a_run_has_the_figures_of_the_cpu(photos: Path, more: dict[str, Any], tmp_path: Path, monkeypatch) -> None:
    """Photos as bytes, features that are computed once, validation: losses within 1e-4, every photo judged alike."""
    monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / "cache")))
    listener = Steps()

    wanted = edge.fit(tiny_model(), photos, **SETTINGS, **more)
    found = edge.fit(tiny_model(), photos, device="gpu", listener=listener, **SETTINGS, **more)

    assert close(found.history, wanted.history)
    assert listener.seen == [(epoch, batch) for epoch in range(2) for batch in (1, 2, 3)]
    assert (found.model.device, [m.device for m in found.history]) == ("cpu", [device()] * 2)


def test_a_teacher_is_asked_on_the_device(photos: Path) -> None:
    """With a teacher photos go as numbers, which it reads as well."""
    settings = {**SETTINGS, "epochs": 1, "distillation": 0.5}

    wanted = edge.fit(tiny_model(), photos, teacher=tiny_model(1), **settings)
    found = edge.fit(tiny_model(), photos, teacher=tiny_model(1), device="gpu", **settings)

    assert close(found.history, wanted.history)


def test_an_interrupted_run_goes_on_to_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    """A step is under way when Ctrl-C comes: it is waited for and counted, none is lost and none taken twice."""
    edge.fit(tiny_model(), photos, device="gpu", out=tmp_path / "whole", **SETTINGS)
    with pytest.raises(Interrupted) as stop:
        edge.fit(tiny_model(), photos, device="gpu", out=tmp_path / "run", listener=Steps(last=1), **SETTINGS)

    edge.fit(tiny_model(), photos, device="gpu", out=tmp_path / "run", resume=True, **SETTINGS)

    assert (stop.value.epoch, stop.value.batch) == (0, 2)  # one was told, and one was under way
    assert (tmp_path / "run" / BEST).read_bytes() == (tmp_path / "whole" / BEST).read_bytes()


@pytest.mark.parametrize(("first", "then"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_run_goes_on_with_its_weights_on_another_device(photos: Path, tmp_path: Path, first: str, then: str) -> None:
    """The figures are those of a whole run; the folder says which device computed which epoch."""
    wanted = edge.fit(tiny_model(), photos, **SETTINGS)
    with pytest.raises(Interrupted):
        edge.fit(tiny_model(), photos, out=tmp_path, device=first, listener=Steps(last=4), **SETTINGS)

    found = edge.fit(tiny_model(), photos, out=tmp_path, device=then, resume=True, **SETTINGS)

    names = {"cpu": "cpu", "gpu": device()}
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text("utf-8").splitlines()]
    assert close(found.history, wanted.history)
    assert [line["device"] for line in lines] == [names[first], names[then]]
    for name, array in wanted.model.workspace.items():
        assert np.allclose(found.model.workspace[name], array, atol=1e-3), name


def test_evaluation_on_the_device_gives_the_same_scores(photos: Path) -> None:
    """Every score of every photo, in pieces or whole."""
    wanted = edge.evaluate(tiny_model(), photos, batch_size=5)

    found = edge.evaluate(tiny_model(), photos, batch_size=5, device="gpu")

    assert np.allclose(found.scores, wanted.scores, rtol=1e-4, atol=1e-5)


def test_a_batch_runs_there_in_pieces_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are launched one after the other before any result is read; the scores are those of the whole."""
    model = tiny_model().replace(device="gpu")
    photos = np.random.default_rng(0).standard_normal((11, *model.preprocess.shape), np.float32)
    whole = model.run(photos)
    monkeypatch.setattr("edge_sdk.batching.GPU_BYTES", 25_000)
    size = piece_size(model.execution[0], len(photos), "gpu")

    pieces = tiny_model().replace(device="gpu").run(photos)

    assert 1 < size < len(photos) / 2
    assert np.allclose(pieces, whole, rtol=1e-5, atol=1e-6)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call `edge`; returns exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return int(end.value.code or 0), *capfd.readouterr()

    return call


def test_the_command_line_trains_and_evaluates_there(run, photos: Path, tmp_path: Path) -> None:
    """`edge train --device gpu` leaves the CPU's losses and says where they come from; `edge eval` opens the folder."""
    tiny_model().save(tmp_path / "tiny.edge")
    command = ("train", photos, "--model", tmp_path / "tiny.edge", "--epochs", 1, "--batch", 4, "--seed", 3)

    runs = {device: run(*command, "--out", tmp_path / device, "--device", device) for device in ("cpu", "gpu")}
    evaluated = run("eval", tmp_path / "gpu", photos, "--device", "auto", "--json")

    lines = {device: json.loads((tmp_path / device / METRICS).read_text("utf-8")) for device in runs}
    assert [result[0] for result in runs.values()] == [0, 0]
    assert lines["gpu"]["loss"] == pytest.approx(lines["cpu"]["loss"], abs=1e-4)
    assert {device: line["device"] for device, line in lines.items()} == {"cpu": "cpu", "gpu": device()}
    assert edge.load(tmp_path / "gpu").provenance["training"]["device"] == device()
    assert (evaluated[0], json.loads(evaluated[1])["count"]) == (0, 12)
    assert evaluated[2].splitlines() == [f"device auto is the GPU: {current_driver().description}"]
