"""CUDA kernels on the machine's processor: the same .cu files, compiled by g++."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sdk.kernels.gpu import driver, emulated_driver

ELSEWHERE = ("cuda_sources", "nvidia_libraries", "gpu")
"""Marks of tests that need something else than the emulated device."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on the emulated device."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not any(map(item.get_closest_marker, ELSEWHERE)):
            item.add_marker(pytest.mark.emulated)


@pytest.fixture(autouse=True)
def emulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let device "gpu" be the emulated one, every access checked, or the real one where a test is marked `gpu`."""
    if request.node.get_closest_marker("gpu"):
        yield
        return
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: CUDA kernels cannot be run on the processor")
    monkeypatch.setenv(driver.VARIABLE, "emulated")
    checked = not request.node.get_closest_marker("nvidia_libraries")  # what stands in for those writes unseen
    monkeypatch.setenv(emulated_driver.CHECK_VARIABLE, str(int(checked)))
    if driver.current_driver.cache_info().currsize:
        monkeypatch.setattr(driver.current_driver(), "checked", checked, raising=False)
    yield
