"""The kernels that the whole suite needs are compiled on a second core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MANY = 5000
"""Tests; fewer do not need most of the kernels."""
BESIDE = pytest.StashKey[subprocess.Popen]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start compile_ahead.py beside a run of the whole suite."""
    if len(session.items) < MANY or session.config.option.collectonly or (os.cpu_count() or 1) < 2:
        return
    environment = os.environ | {"PYTHONPATH": str(TESTS), "NUMBA_NUM_THREADS": "1"}
    session.config.stash[BESIDE] = subprocess.Popen(
        [sys.executable, TESTS / "compile_ahead.py"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no process behind."""
    beside = session.config.stash.get(BESIDE, None)
    if beside is not None:
        beside.terminate()
        beside.wait()
