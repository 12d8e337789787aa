"""`edge warmup` and `edge --threads`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edge_sdk as edge
from edge_sdk.pretrained import architectures, warmup


def test_every_family_is_warmed_up_for_training_and_inference():
    """One network of each module of the zoo, and every optimizer."""
    names = [part.name for part in warmup.parts()]

    families = {architectures.ZOO[network].module for network in warmup.NETWORKS}
    assert families == {one.module for one in architectures.ZOO.values()}
    for network in warmup.NETWORKS:
        assert {f"{network}, training", f"{network}, inference of 1"} <= set(names)
    assert [name for name in names if name.startswith("optimizer")] == [
        f"optimizer {name}" for name in ("sgd", "adam", "adamw", "rmsprop")
    ]


@pytest.mark.slow
def test_a_second_warmup_compiles_nothing(tmp_path):
    """The first fills an empty cache, with progress on stderr; the second finds everything there."""
    environment = {**os.environ, "EDGE_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "edge_sdk.cli.main", "warmup", "--model", "mobilenetv2", "--json"]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)
    )

    one, two = json.loads(first.stdout), json.loads(second.stdout)
    assert one["compiled"] > 20
    assert two["compiled"] == 0
    assert two["loaded"] > 10
    assert Path(one["folder"]).is_relative_to(tmp_path)
    assert one["bytes"] == two["bytes"] > 100_000
    assert "compiling kernels, once: " in first.stderr
    assert "compiling" not in second.stderr


def test_any_network_can_be_warmed_up():
    """Those asked for and no others."""
    names = [part.name for part in warmup.parts(["resnext50_32x4d"])]

    assert names[0] == "resnext50_32x4d, training"
    assert not any(name.startswith("resnet50") for name in names)


def test_an_unknown_network_is_named(refused):
    """With a suggestion, before anything is compiled."""
    assert "did you mean 'resnet18'?" in refused("warmup", "--model", "resnet19")


def test_threads_reach_the_plan(run, model):
    """`edge --threads 1` counts for every Session of the command, and for no later one."""
    before = edge.get_threads()

    result = run("--threads", "1", "inspect", model, "--json")

    assert result.json["threads"] == 1
    assert result.json["threading_layer"] in ("omp", "tbb", "workqueue")
    assert edge.get_threads() == before


def test_no_threads_are_refused(refused):
    """As every option out of its range."""
    assert "0 is not in the range" in refused("--threads", "0", "warmup")
