"""`edge doctor` says what the machine has."""

from __future__ import annotations

import importlib.metadata
import platform
from types import SimpleNamespace

import numpy as np
import pytest

import edge_sdk
from edge_sdk.cli.doctor_command import GPU_PACKAGES, RUNTIMES
from edge_sdk.kernels.gpu import driver


def installed(names):
    """The packages among these that are installed, with their versions."""
    found = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
    return {name: found[name] for name in names if name in found}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with a file of weights of 3 bytes, one of features of 5 and one of a GPU's kernels of 7."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    for name, length in (("a.edge", 3), ("features/b", 5), ("kernels/gpu/c", 7)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(length))
    return tmp_path


@pytest.fixture
def no_gpu(monkeypatch):
    """EDGE_GPU names nothing that exists."""
    monkeypatch.setenv(driver.VARIABLE, "abacus")
    driver.current_driver.cache_clear()
    yield
    driver.current_driver.cache_clear()


def test_versions_are_those_of_the_packages(run):
    """Installed ones with their version, others as missing."""
    versions = run("doctor", "--json").json["versions"]

    assert versions["edge-sdk"] == edge_sdk.__version__
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__


def test_processors_and_vectors_are_plausible(run):
    """At least one processor and thread, vectors of a width that exists, and a layer that runs the threads."""
    processor = run("--threads", "1", "doctor", "--json").json["processor"]

    assert processor["processors"] >= 1
    assert processor["threads"] == 1
    assert processor["simd_bits"] in (128, 256, 512)
    assert processor["threading_layer"] in ("omp", "tbb", "workqueue")


def test_every_cache_is_counted_once(run, cache):
    """What lies in folders below the weights is not counted with them."""
    caches = {one["kind"]: one for one in run("doctor", "--json").json["caches"]}

    assert {kind: (one["files"], one["bytes"]) for kind, one in caches.items() if kind != "kernels"} == {
        "weights": (1, 3),
        "features": (1, 5),
        "tuning": (0, 0),
    }
    assert caches["kernels"]["bytes"] >= 7
    assert caches["kernels"]["folder"] == str(cache / "kernels")


def test_the_reason_for_no_gpu_is_one_line(run, no_gpu):
    """It is a fact and no error."""
    result = run("doctor", "--json")

    assert result.code == 0
    assert result.json["gpu"] == {
        "description": None, "free_bytes": None, "reason": "EDGE_GPU is 'cuda' or 'emulated', not 'abacus'",
        "packages": installed(GPU_PACKAGES),
    }  # fmt: skip


def test_the_gpu_is_described(run, monkeypatch):
    """With the driver's own words, what it has free, and the packages that drive it."""
    fine = SimpleNamespace(description="a fine GPU", free_bytes=lambda: 3 << 29)
    monkeypatch.setattr(driver, "current_driver", lambda: fine)

    gpu = run("doctor", "--json").json["gpu"]
    shown = next(line for line in run("doctor").out.splitlines() if line.startswith("GPU "))

    packages = installed(GPU_PACKAGES)
    assert gpu == {"description": "a fine GPU", "free_bytes": 3 << 29, "reason": None, "packages": packages}
    assert "a fine GPU, 1.5 GiB free" in shown
    assert all(f", {name} {version}" in shown for name, version in packages.items())


def test_runtimes_that_are_installed_have_a_version(run):
    """Each that is looked for is there or null."""
    runtimes = run("doctor", "--json").json["runtimes"]

    assert {name: version for name, version in runtimes.items() if version} == installed(RUNTIMES)
    assert set(runtimes) == set(RUNTIMES)


def test_people_get_a_line_each(run, cache, no_gpu):
    """The same facts as text."""
    result = run("doctor")

    lines = dict(line.split("  ", 1) for line in result.out.splitlines())
    assert result.err == ""
    assert f"edge-sdk {edge_sdk.__version__}" in lines["versions"]
    assert lines["GPU"].strip().startswith("none: EDGE_GPU is 'cuda' or 'emulated', not 'abacus'")
    assert lines["weights"].strip() == f"{cache}: 1 file, 0.0 kB"
    assert lines["features"].strip() == f"{cache / 'features'}: 1 file, 0.0 kB"
    assert set(RUNTIMES) <= set(lines)
