"""The benchmarks of a GPU run from end to end on the emulated one, whose times are never taken for a GPU's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT

from benchmarks.ratios import read

RESULTS = ROOT / "benchmarks" / "results"


def call(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module of benchmarks/ from the repository's root, on the emulated device."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: CUDA kernels cannot be run on the processor")
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=500, check=False,
        env={**os.environ, "EDGE_GPU": "emulated"},
    )  # fmt: skip


@pytest.mark.emulated
def test_every_case_is_measured_and_merged(tmp_path: Path) -> None:
    """Training and inference, from the device and the host; a second run goes into the same file."""
    common = ("--smoke", tmp_path, "--rounds", 2, "--no-autotune", "--programs", "libraries,own")
    first = call("gpu", *common, "--precisions", "fp16", "--kinds", "training,inference from the host")
    second = call("gpu", *common, "--precisions", "float32", "--kinds", "training from the host")

    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    (file,) = tmp_path.iterdir()
    entries = json.loads(file.read_text("utf-8"))
    assert file.name == "gpu-emulated.json"
    assert sorted(entries) == [
        "smoke b2 float32 training from the host", "smoke b2 fp16 inference from the host", "smoke b2 fp16 training"
    ]  # fmt: skip
    for entry in entries.values():
        assert entry["figures"].keys() == {"edge_sdk", "edge_sdk own kernels"}
        for figure in entry["figures"].values():
            assert figure["fastest_seconds"] <= figure["median_seconds"] <= figure["slowest_seconds"]
            assert figure["peak_gpu_mib"] > 0


@pytest.mark.emulated
def test_every_node_is_held_against_the_limits(tmp_path: Path) -> None:
    """The shares of a step's operators are the whole step."""
    done = call("gpu_kernels", "--smoke", tmp_path, "--precisions", "bf16", "--no-autotune")

    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "gpu-emulated.json").read_text("utf-8")).values()
    assert sum(group["share"] for group in entry["kernels"].values()) == pytest.approx(1, abs=0.01)
    assert all(group["times_the_limit"] > 0 for group in entry["kernels"].values())
    assert entry["copy_bytes_per_second"] > 0


@pytest.mark.emulated
@pytest.mark.parametrize("module", ["gpu", "gpu_kernels"])
def test_an_emulation_is_no_result(module: str) -> None:
    """Without --smoke nothing is measured, and no file of results is written."""
    before = sorted(RESULTS.glob("gpu*"))

    done = call(module, "--networks", "resnet18")

    assert done.returncode == 2
    assert "device 'gpu' is emulated here: its times say nothing of a GPU" in done.stderr
    assert sorted(RESULTS.glob("gpu*")) == before


def test_a_chip_is_named_in_the_table(tmp_path: Path) -> None:
    """Files of GPUs are read beside the others; memory is the GPU's."""
    figures = {
        "edge_sdk": {"median_seconds": 0.1, "peak_gpu_mib": 50},
        "edge_sdk own kernels": {"median_seconds": 0.05, "peak_gpu_mib": 40},
        "torch eager": {"median_seconds": 0.2, "peak_gpu_mib": 100},
        "torch compiled": {"error": "no compiler"},
    }
    entry = {"chip": "h100", "figures": figures}
    (tmp_path / "gpu-h100.json").write_text(json.dumps({"resnet50 b128 fp16 training": entry}), encoding="utf-8")

    (ratio,) = read(tmp_path)

    assert (ratio.kind, ratio.case, ratio.peer) == ("on a GPU, h100", "resnet50 b128 fp16 training", "torch eager")
    assert (ratio.times_faster, ratio.memory_ratio) == (2, 0.5)
