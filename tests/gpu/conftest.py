"""Every test here runs on two devices, each with a mark of its own: `emulated` on the processor, `gpu` on a real GPU.

The same .cu files are compiled by g++ for the one and by NVIDIA's compiler for the other. A test that has one of the
two marks already runs there alone: it is about the emulation, or shows what only a GPU can.
"""

from __future__ import annotations

import shutil

import pytest
from gpu.devices import is_emulated

from edge_sdk.kernels.gpu import driver, emulated_driver

DEVICES = {"emulated": "emulated", "gpu": "cuda"}
"""What the environment says for each mark."""
ELSEWHERE = ("cuda_sources", "nvidia_libraries")
"""Marks of tests that need something else: the compiler, or the libraries with a device that stands in."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test run once for each device that it is for."""
    marked = metafunc.definition.get_closest_marker
    if any(map(marked, ELSEWHERE)):
        return
    wanted = [name for name in DEVICES if marked(name)] or list(DEVICES)
    devices = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in wanted]
    metafunc.parametrize("gpu_in_use", devices, indirect=True)


@pytest.fixture(autouse=True)
def gpu_in_use(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let device "gpu" be the one that the test is for, an emulated one checked; a process has one of them."""
    name = getattr(request, "param", "emulated")
    if name == "emulated" and shutil.which("g++") is None:
        pytest.skip("g++ is not installed: CUDA kernels cannot be run on the processor")
    checked = not request.node.get_closest_marker("nvidia_libraries")  # what stands in for those writes unseen
    monkeypatch.setenv(driver.VARIABLE, DEVICES[name])
    monkeypatch.setenv(emulated_driver.CHECK_VARIABLE, str(int(checked)))
    if driver.current_driver.cache_info().currsize:
        if is_emulated() != (name == "emulated"):
            pytest.fail("this process has computed on the other device; run `pytest -m emulated` and `-m gpu` apart")
        monkeypatch.setattr(driver.current_driver(), "checked", checked, raising=False)
    return str(name)
