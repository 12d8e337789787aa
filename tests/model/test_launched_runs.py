"""Runs that are launched before the one before is read: the order, and results that know nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
from own_cache import own_cache
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.folder import ImageFolder
from edge_sdk.device_memory import HostMemory
from edge_sdk.errors import DataError
from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.session import Session
from edge_sdk.training import validation
from edge_sdk.training.features import Features, Views
from edge_sdk.training.frozen_part import cut_off_frozen
from edge_sdk.training.step import training_forward

SETTINGS = {"epochs": 2, "batch_size": 3, "learning_rate": 0.05, "seed": 3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 6)


@pytest.fixture
def order(monkeypatch):
    """What happens to the runs of all Sessions, in order: "launch 0", "read 0", …"""
    events = []
    start = Session.start

    def recorded(session, feeds):
        outputs = start(session, feeds)
        number = sum(event.startswith("launch") for event in events)
        events.append(f"launch {number}")

        def read():
            events.append(f"read {number}")
            return outputs()

        return read

    monkeypatch.setattr(Session, "start", recorded)
    return events


def let_run_ahead(monkeypatch, count: int) -> None:
    """Let the CPU be a device that goes on by itself, as far as anybody can tell."""
    monkeypatch.setattr(HostMemory, "runs_ahead", count)


@pytest.mark.parametrize(
    ("ahead", "wanted"),
    [
        (0, "launch 0 read 0 launch 1 read 1 launch 2 read 2 launch 3 read 3"),
        (1, "launch 0 launch 1 read 0 launch 2 read 1 launch 3 read 2 read 3"),
        (2, "launch 0 launch 1 launch 2 read 0 launch 3 read 1 read 2 read 3"),
        (9, "launch 0 launch 1 launch 2 launch 3 read 0 read 1 read 2 read 3"),
    ],
)
def test_so_many_runs_are_launched_before_one_is_read(ahead, wanted):
    """Never fewer while there are more to launch; each comes with what it is of, and all come in the end."""
    events, read = [], []
    runs = LaunchedRuns(ahead)

    def outputs(number):
        events.append(f"read {number}")
        return 10 * number

    for number in range(4):
        events.append(f"launch {number}")
        read += runs.add(lambda number=number: outputs(number), number)
        assert len(runs) <= ahead
    read += runs.finish()

    assert events == [f"{kind} {number}" for kind, number in zip(*[iter(wanted.split())] * 2, strict=True)]
    assert read == [(0, 0), (10, 1), (20, 2), (30, 3)]
    assert len(runs) == 0


def test_evaluation_launches_the_next_batch_first(photos, monkeypatch, order):
    """Scores are the same bytes, batches are told in the same order; the last one has two rows."""
    results = []
    for ahead in (0, 1):
        let_run_ahead(monkeypatch, ahead)
        order.clear()
        told = []
        results.append(edge.evaluate(tiny_model(), photos, 4, told.append))
        assert told == [4, 4, 4, 4, 2]
        results[-1] = (results[-1].scores.tobytes(), results[-1].targets.tobytes(), list(order))

    assert results[0][:2] == results[1][:2]
    assert results[0][2][:4] == ["launch 0", "read 0", "launch 1", "read 1"]
    assert results[1][2] == [
        "launch 0", "launch 1", "read 0", "launch 2", "read 1", "launch 3", "read 2", "launch 4", "read 3", "read 4",
    ]  # fmt: skip


@pytest.mark.parametrize("ahead", [0, 1])
def test_an_error_of_the_data_ends_an_evaluation(tmp_path, monkeypatch, ahead):
    """Too many photos that cannot be read are reported whether or not a batch is under way."""
    folder = write_photos(tmp_path / "photos", 6)
    for name in ("4", "5"):
        (folder / "red" / f"{name}.png").write_bytes(b"torn")
    let_run_ahead(monkeypatch, ahead)

    with pytest.raises(DataError, match="2 of 18 photos cannot be read"):
        edge.evaluate(tiny_model(), folder, 4)


@pytest.mark.parametrize("more", [{"freeze": "backbone", "augment": "off"}, {"distillation": 0.5}])
def test_a_training_run_has_the_same_bytes(photos, monkeypatch, tmp_path, order, more):
    """Features and their validation, or a teacher: weights and figures; runs are launched before others are read."""
    monkeypatch.setattr(validation, "EVALUATED", 2)
    teacher = tiny_model(1) if "distillation" in more else None
    runs = []
    for ahead in (0, 1):
        monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / f"cache{ahead}")))
        let_run_ahead(monkeypatch, ahead)
        order.clear()
        run = edge.fit(tiny_model(), photos, teacher=teacher, **SETTINGS, **more)
        waiting = [order.index(f"read {number}") - order.index(f"launch {number}") for number in range(len(order) // 2)]
        runs.append((run.history, run.model.workspace.digest(), max(waiting)))

    assert runs[0][:2] == runs[1][:2]
    assert runs[0][2] == 1
    assert runs[1][2] > 1


class Torn(ArrayDataset):
    """Photos of which the ones from 16 on end everything."""

    def photo(self, index, *, shortest=None):
        """Raise what no loader expects."""
        if index >= 16:
            raise ZeroDivisionError("a defect")
        return super().photo(index, shortest=shortest)


def features_of(dataset, folder):
    """Features of a dataset in blocks of eight photos."""
    part = cut_off_frozen(training_forward(tiny_model(), freeze="backbone"))
    part.__dict__["block"] = 8
    return Features(part, Views(dataset, tiny_model().preprocess), folder)


@pytest.mark.parametrize(("ahead", "kept"), [(0, 8), (1, 16)])
def test_features_that_are_under_way_are_kept_when_ctrl_c_comes(photos, tmp_path, monkeypatch, ahead, kept):
    """It comes when the first block is there: the one that was launched behind it is waited for, and not lost."""
    dataset = ImageFolder.scan(photos).train
    let_run_ahead(monkeypatch, ahead)
    told = []

    def press(rows):
        told.append(rows)
        if len(told) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features_of(dataset, tmp_path).compute(None, 0, press)
    again = features_of(dataset, tmp_path)
    missing = again.missing
    again.compute(None, 0, told.append)

    assert missing == 18 - kept
    assert sum(told) == 18


@pytest.mark.parametrize("ahead", [0, 1])
def test_features_that_are_under_way_are_kept_when_the_data_fail(photos, tmp_path, monkeypatch, ahead):
    """The error comes out as it is, and both blocks before it are there."""
    whole = ImageFolder.scan(photos).train
    photos = [whole.photo(index) for index in range(18)]
    torn = Torn.of(photos, [whole.label(index) for index in range(18)], whole.labels)
    let_run_ahead(monkeypatch, ahead)

    features = features_of(torn, tmp_path)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        features.compute(None, 0)

    assert features.missing == 2
    assert np.isfinite(next(iter(features.gather(np.arange(16)).values()))).all()
