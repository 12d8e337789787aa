"""The exported files in MediaPipe's ImageClassifier and the Task Library's, which read labels and means in them.

    pytest -m clients tests/clients/test_mediapipe.py

Both get bare photos and have environments of their own. MediaPipe needs libegl1 and libgles2 of the system, the Task
Library libusb-1.0-0 and Python 3.11 or older.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from clients.environments import python_with, run, run_client
from clients.exported_files import FILES

import edge_sdk as edge
from edge_sdk import pretrained

pytestmark = pytest.mark.clients

PROGRAMS = Path(__file__).with_name("programs")
FLOAT_TOLERANCE = 1e-4
DYNAMIC_TOLERANCE = 0.02


@pytest.fixture(scope="module")
def mediapipe(environments) -> Path:
    """The interpreter of an environment with MediaPipe."""
    return python_with(environments / "mediapipe", ["mediapipe==1.2.3"])


@pytest.fixture(scope="module")
def task_library(environments) -> Path:
    """The interpreter of an environment with the Task Library's last release."""
    python = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if python is None:
        pytest.skip("tflite-support 0.4.4 has wheels for Python 3.11 and older; there is no python3.11 here")
    return python_with(environments / "task-library", ["tflite-support==0.4.4"], python)


def _scores(file, python: Path, program: str, folder: Path) -> np.ndarray:
    pixels, answers = folder / "pixels.npy", folder / "answers.json"
    np.save(pixels, file.pixels)
    run_client(python, PROGRAMS / program, file.path, pixels, answers)
    scores = np.full(file.expected.shape, np.nan, np.float32)
    for photo, ranking in enumerate(json.loads(answers.read_text("utf-8"))):
        assert [name for _, name, _ in ranking] == [file.labels[index] for index, _, _ in ranking]
        for index, _, score in ranking:
            scores[photo, index] = score
    return scores


def assert_agrees(file, found: np.ndarray) -> None:
    assert not np.isnan(found).any()
    if file.step is not None:
        assert file.steps(found).max() == 0
    else:
        assert file.relative_difference(found) <= (DYNAMIC_TOLERANCE if file.form == "dynamic" else FLOAT_TOLERANCE)


@pytest.mark.parametrize("name", [name for name in FILES if name != "mobilenetv2_float32"])
def test_a_file_answers_in_mediapipe(name, exported, mediapipe, tmp_path):
    """Every class has its label and the score of our own evaluation: floats to 1e-4, int8 the same number."""
    found = _scores(exported[name], mediapipe, "run_mediapipe.py", tmp_path)

    assert_agrees(exported[name], found)


@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_in_the_task_library(name, exported, task_library, tmp_path):
    """The same of MediaPipe's predecessor, which takes a mean and deviation of each channel too."""
    found = _scores(exported[name], task_library, "run_task_library.py", tmp_path)

    assert_agrees(exported[name], found)


def test_mediapipe_has_no_normalisation_per_channel(exported, mediapipe, tmp_path):
    """A float file whose channels have means of their own is refused by MediaPipe, which says why."""
    file = exported["mobilenetv2_float32"]
    pixels = tmp_path / "pixels.npy"
    np.save(pixels, file.pixels)

    done = run(mediapipe, PROGRAMS / "run_mediapipe.py", file.path, pixels, tmp_path / "answers.json")
    if "cannot open shared object file" in done.stderr:
        pytest.skip("MediaPipe needs libegl1 and libgles2")

    assert done.returncode != 0
    assert "Per-channel image normalization is not available" in done.stderr


def test_mediapipe_takes_it_with_the_normalisation_inside(exported, mediapipe, tmp_path):
    """The same network, written with --embed-preprocessing and an open batch, gives our own scores."""
    model = pretrained.load("mobilenetv2", weights=None, num_classes=10, image_size=64)
    edge.export(model, tmp_path / "inside.tflite", embed_preprocessing=True)
    file = dataclasses.replace(exported["mobilenetv2_float32"], path=tmp_path / "inside.tflite")

    found = _scores(file, mediapipe, "run_mediapipe.py", tmp_path)

    assert_agrees(file, found)
