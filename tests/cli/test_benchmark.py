"""`edge benchmark` times a model and each of its operators."""

from __future__ import annotations

import sys

import pytest
from tiny_models import SIDE

import edge_sdk as edge

# Multiply-adds of the tiny network, by hand from its layers, for one photo.
PRODUCTS = (SIDE // 2) ** 2 * (8 * 3 * 9 + 8 * 9 + 8 * 8) + 8 * 3


def test_inference_is_profiled(run, trained, model):
    """The nodes are the graph's, their shares make a whole, and their multiply-adds are those counted by hand."""
    facts = run("benchmark", model, "--batch", 3, "--runs", 4, "--json").json

    assert (facts["batch"], facts["training"], facts["runs"]) == (3, False, 4)
    assert [node["op"] for node in facts["nodes"]] == [node.op.name for node in trained.execution[0].nodes]
    assert sum(node["share"] for node in facts["nodes"]) == pytest.approx(1)
    assert sum(node["multiply_adds"] for node in facts["nodes"]) == 3 * PRODUCTS
    assert 0 < facts["p50_milliseconds"] <= facts["p90_milliseconds"]
    assert facts["photos_per_second"] == pytest.approx(3e3 / facts["p50_milliseconds"])


def test_operators_are_the_sums_of_their_nodes(run, model):
    """Time, multiply-adds and bytes by operator add up to those of the nodes, the slowest operator first."""
    facts = run("benchmark", model, "--runs", 2, "--json").json
    operators, nodes = facts["operators"], facts["nodes"]

    for key in ("milliseconds", "multiply_adds", "bytes", "share"):
        assert sum(group[key] for group in operators) == pytest.approx(sum(node[key] for node in nodes))
    assert sum(group["nodes"] for group in operators) == len(nodes)
    times = [group["milliseconds"] for group in operators]
    assert times == sorted(times, reverse=True)
    for node in nodes:
        assert node["gflops"] == pytest.approx(2e-6 * node["multiply_adds"] / node["milliseconds"])
        assert node["gigabytes_per_second"] == pytest.approx(1e-6 * node["bytes"] / node["milliseconds"])


def test_a_training_step_is_profiled(run, trained, model):
    """Its products are the forward ones, as many for the weights, and for inputs all but the photo's."""
    before = trained.workspace.digest()

    facts = run("benchmark", model, "--train", "--batch", 2, "--runs", 2, "--json").json

    stem = (SIDE // 2) ** 2 * 8 * 3 * 9
    assert facts["training"]
    assert sum(node["multiply_adds"] for node in facts["nodes"]) == 2 * (3 * PRODUCTS - stem)
    assert "loss" in [node["name"] for node in facts["nodes"]]
    assert trained.workspace.digest() == before


def test_peaks_are_of_a_real_machine(run, model):
    """All threads together do not multiply less than a tenth of one, and everything is a positive number."""
    peaks = run("benchmark", model, "--runs", 2, "--json").json["peaks"]

    assert peaks["threads"] >= 1
    assert peaks["gflops"] > 0.1 * peaks["thread_gflops"] > 0
    assert peaks["gigabytes_per_second"] > 0


def test_tables_are_printed(run, model, monkeypatch):
    """One by operator, with a line for all; with --nodes another with every node by name."""
    monkeypatch.setenv("COLUMNS", "100")

    result = run("benchmark", model, "--runs", 2, "--nodes")

    assert result.code == 0
    lines = result.out.splitlines()
    assert "inference of 1: p50 " in lines[0]
    assert lines[1].startswith("peaks of this machine: ")
    assert any(line.split()[:1] == ["all"] and "100.0 %" in line for line in lines)
    assert any(line.split()[:1] == ["logits"] for line in lines)
    assert max(map(len, lines[2:])) <= 100


def test_a_tflite_file_is_profiled_on_our_kernels_on_request(run, tflite):
    """As the float model that it holds."""
    facts = run("benchmark", tflite, "--session", "--runs", 2, "--json").json

    assert facts["model"] == "tiny"
    assert {"conv2d", "linear"} <= {row["op"] for row in facts["operators"]}


def test_a_tflite_file_is_timed_in_the_runtime(run, tflite):
    """On 1, 2 and 4 threads, with a cold start and the memory of a process of its own, and operator by operator."""
    (facts,) = run("benchmark", tflite, "--runs", 4, "--json").json["files"]

    assert (facts["file"], facts["bytes"]) == (str(tflite), tflite.stat().st_size)
    assert set(facts["threads"]) == {"1", "2", "4"}
    for found in facts["threads"].values():
        assert found["runs"] == 4
        assert 0 < found["p50_milliseconds"] <= found["p90_milliseconds"]
        parts = found["load_milliseconds"] + found["first_run_milliseconds"]
        assert found["cold_start_milliseconds"] == pytest.approx(parts)
        if sys.platform == "linux":
            assert found["peak_bytes"] > found["baseline_bytes"] > 10_000_000
    assert sum(node["share"] for node in facts["nodes"]) == pytest.approx(1)
    # The tiny network's own products, and the 8-bit file's: a normalisation is not in it.
    assert sum(node["multiply_adds"] for node in facts["nodes"]) == PRODUCTS
    assert sum(group["count"] for group in facts["operators"]) == len(facts["nodes"])
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= {node["op"] for node in facts["nodes"]}
    assert facts["untimed"] == []


def test_files_are_timed_beside_each_other(run, trained, tflite, tmp_path, monkeypatch):
    """A row for each file and number of threads, with the times of the first; operators of both."""
    monkeypatch.setenv("COLUMNS", "120")
    other = tmp_path / "float.tflite"
    edge.export(trained, other)

    result = run("benchmark", other, tflite, "--runs", 2, "--nodes")

    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].startswith(f"A = {other}: ")
    assert lines[1].startswith(f"B = {tflite}: ")
    assert [line.split()[:2] for line in lines if line.split()[:1] in (["A"], ["B"]) and line.split()[1].isdigit()] == [
        [letter, threads] for letter in "AB" for threads in "124"
    ]
    assert result.out.count("operators, each in a file of its own") == 2


def test_a_zoo_network_needs_no_file(run):
    """Its weights are random: they do not change the time."""
    facts = run("benchmark", "mobilenet_v2", "--runs", 2, "--json").json

    assert facts["model"] == "mobilenetv2"
    assert sum(node["multiply_adds"] for node in facts["nodes"]) == pytest.approx(0.301e9, abs=0.0005e9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet81",), "'resnet81' is neither a zoo network"),
        (("model.tflte",), "model.tflte"),
        (("a.tflite", "resnet18"), "only .tflite files are timed beside each other"),
        (("a.tflite", "--batch", 4), "add --session"),
        (("a.tflite",), "a.tflite: cannot be read"),
        (("resnet18", "--runs", 1), "1 is not in the range"),
        (("resnet18", "--batch", 0), "0 is not in the range"),
    ],
)
def test_mistakes_are_explained(arguments, message, refused):
    """A name that is no model, a file of the wrong kind, numbers that make no sense."""
    assert message in refused("benchmark", *arguments)
