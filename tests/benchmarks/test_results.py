"""The figures of benchmarks are read whatever of them is there, and compared with the right peer."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from source_tree import ROOT

MACHINE_FIELDS = {"processor", "flags", "memory_gib", "numpy", "numba", "llvmlite", "threading_layer", "date"}


def figure(seconds: float, memory: float = 100) -> dict[str, Any]:
    return {"median_seconds": seconds, "peak_rss_mib": memory, "versions": {}}


@pytest.fixture
def results(tmp_path) -> Path:
    """Two files of the usual form, in an order that is not the network's and the batch's."""
    content = {
        "train_step": {"resnet18 b16": {"figures": {"edge_sdk": figure(0.3, 50), "torch plain": figure(0.6)}}},
        "inference": {
            "resnet18 b16": {"figures": {"edge_sdk": figure(0.1), "litert": figure(0.2), "torch": figure(0.15, 400)}},
            "resnet18 b2": {"figures": {"edge_sdk": figure(0.1), "litert": figure(0.05)}},
            "alexnet b1": {"figures": {"edge_sdk": figure(2.5)}},
        },
    }
    for name, entries in content.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(entries), encoding="utf-8")
    return tmp_path


def call(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module of benchmarks/ as a person does, from the repository's root."""
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip


def rows(output: str) -> list[list[str]]:
    """The cells of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in output.splitlines()[2:]]


def test_each_comparison_is_a_row(results):
    """The best peer is the fastest, files and peers may be absent, batches are sorted as numbers."""
    done = call("table", "--results", results)

    assert done.returncode == 0, done.stderr
    assert rows(done.stdout) == [
        ["training step, resnet18 b16", "300 ms", "600 ms", "torch plain", "2.00", "50 MiB", "100 MiB", "0.50"],
        ["inference, resnet18 b2", "100 ms", "50 ms", "litert", "0.50", "100 MiB", "100 MiB", "1.00"],
        ["inference, resnet18 b16", "100 ms", "150 ms", "torch", "1.50", "100 MiB", "400 MiB", "0.25"],
    ]


def test_bars_stand_beside_the_figures(results):
    """A mark says whether the speed that is wanted was reached; kinds without one have a dash."""
    done = call("table", "--results", results, "--bar", "inference=1.2")

    assert [row[-1] for row in rows(done.stdout)] == ["–", "1.2 ✗", "1.2 ✓"]


def test_a_bar_of_nothing_is_refused(results):
    """The message names the kinds there are."""
    done = call("table", "--results", results, "--bar", "inferense=1")

    assert done.returncode == 2
    assert "training step" in done.stderr


@pytest.mark.parametrize("content", ["{}", "[]", '{"a b1": 3}', '{"a b1": {"figures": {"edge_sdk": {}, "torch": {}}}}'])
def test_other_forms_are_left_out(content, tmp_path):
    """A file of another schema costs no row and raises nothing."""
    (tmp_path / "scaling.json").write_text(content, encoding="utf-8")

    done = call("table", "--results", tmp_path)

    assert (done.returncode, rows(done.stdout)) == (0, [])


def test_memory_alone_is_compared(tmp_path):
    """Where nothing was timed, the peer is the one that takes least."""
    figures = {"edge_sdk": {"peak_rss_mib": 50}, "torch": {"peak_rss_mib": 200}, "litert": {"peak_rss_mib": 100}}
    (tmp_path / "memory.json").write_text(json.dumps({"resnet18 b1": {"figures": figures}}), encoding="utf-8")

    done = call("table", "--results", tmp_path)

    assert rows(done.stdout) == [["memory, resnet18 b1", "–", "–", "litert", "–", "50 MiB", "100 MiB", "0.50"]]


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib comes with the extra `bench`")
def test_the_picture_shows_every_figure(results, tmp_path):
    """The SVG's text names networks, peers and ratios, and two drawings are the same bytes."""
    pictures = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for picture in pictures:
        done = call("plot", "--results", results, "--out", picture)
        assert done.returncode == 0, done.stderr

    text = pictures[0].read_text("utf-8")

    assert all(part in text for part in ("resnet18 b16", "2.00 × torch plain", "0.50 × litert", "1.50 × torch"))
    assert text == pictures[1].read_text("utf-8")


def test_a_picture_of_nothing_is_refused(tmp_path):
    """The message names the folder."""
    done = call("plot", "--results", tmp_path, "--out", tmp_path / "a.svg")

    assert done.returncode == 2
    assert "no comparison" in done.stderr


def test_the_machine_is_described():
    """Instructions, memory, versions, threading layer and date are there."""
    code = "import json; from benchmarks.machine import machine; print(json.dumps(machine()))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() >= MACHINE_FIELDS
    assert found["threading_layer"] in ("omp", "tbb", "workqueue")
    assert found["numpy"].count(".") == 2
