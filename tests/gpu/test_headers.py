"""CUDA's headers are found beside CuPy, in a toolkit that is named, or where NVIDIA's installers put one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.kernels.gpu import nvrtc

pytestmark = pytest.mark.emulated


def test_toolkits_come_behind_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named toolkit comes before the usual one; folders that are not there are left out."""
    for name in ("named", "usual"):
        (tmp_path / name / "include").mkdir(parents=True)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "named"))
    monkeypatch.setattr(nvrtc, "USUAL_TOOLKIT", str(tmp_path / "usual"))

    found = nvrtc.header_folders.__wrapped__()
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "absent"))
    without = nvrtc.header_folders.__wrapped__()

    assert found[-2:] == (str(tmp_path / "named" / "include"), str(tmp_path / "usual" / "include"))
    assert without == (*found[:-2], found[-1])
