"""Evaluation and features on device "gpu": the next batch is launched first, and every byte is as if it were not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_cache import own_cache
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver
from edge_sdk.training import validation


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("photos"), 4)


def test_scores_have_the_same_bytes(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of batches in pieces too: the pieces of two batches are on their way at once."""
    monkeypatch.setattr("edge_sdk.batching.GPU_BYTES", 25_000)
    scores = []
    for ahead in (0, EmulatedDriver.runs_ahead):
        monkeypatch.setattr(EmulatedDriver, "runs_ahead", ahead)
        scores.append(edge.evaluate(tiny_model(), photos, batch_size=5, device="gpu").scores)

    assert ahead == 1
    assert np.ptp(scores[0]) > 0
    assert scores[0].tobytes() == scores[1].tobytes()


def test_a_run_on_features_has_the_same_bytes(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of two blocks, and a validation of several batches of them."""
    monkeypatch.setattr(validation, "EVALUATED", 1)
    monkeypatch.setattr("edge_sdk.training.frozen_part.MOST_PHOTOS", 4)
    monkeypatch.setattr("edge_sdk.training.frozen_part.LEAST_PHOTOS", 4)
    settings = {"epochs": 1, "batch_size": 3, "learning_rate": 0.05, "freeze": "backbone", "device": "gpu"}
    runs = []
    for ahead in (0, EmulatedDriver.runs_ahead):
        monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / f"cache{ahead}")))
        monkeypatch.setattr(EmulatedDriver, "runs_ahead", ahead)
        run = edge.fit(tiny_model(), photos, **settings)
        runs.append((run.history, run.model.workspace.digest()))

    assert runs[0] == runs[1]
