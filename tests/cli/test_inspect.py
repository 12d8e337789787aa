"""`edge inspect` shows what is in a model file."""

from __future__ import annotations

import re

import pytest
from tiny_models import SIDE


def test_the_program_and_its_figures_are_printed(run, trained, model):
    """The text is the graph's own, followed by parameters, multiply-adds and the memory plan's summary."""
    result = run("inspect", model)

    assert result.code == 0
    assert result.out.startswith(str(trained.graph))
    assert "475 parameters, 1.9 kB; 22.55 k multiply-adds a photo; 3 classes" in result.out
    assert "planned peak" in result.out
    assert result.err == ""


def test_json_has_the_facts(run, trained, model):
    """Sizes agree with counts by hand from the network's layers."""
    # Weights, then scale, offset, mean and variance of the norms, then the head with its bias.
    parameters = 8 * 3 * 9 + 8 * 9 + 8 * 8 + 3 * (4 * 8) + (8 * 3 + 3)
    products = (SIDE // 2) ** 2 * (8 * 3 * 9 + 8 * 9 + 8 * 8) + 8 * 3

    facts = run("inspect", model, "--json").json

    assert (facts["parameters"], facts["weight_bytes"]) == (parameters, 4 * parameters)
    assert facts["multiply_adds"] == products
    assert facts["input"] == [SIDE, SIDE, 3]
    assert facts["labels"] == ["blue", "green", "red"]
    assert facts["provenance"]["training"]["settings"]["learning_rate"] == 0.05
    assert facts["program"] == str(trained.graph)


def test_a_larger_batch_needs_more_memory(run, model):
    """The memory plan is made for the batch that is asked for; the weights stay what they are."""
    one, eight = (run("inspect", model, "--batch", batch, "--json").json for batch in (1, 8))

    assert eight["arena_bytes"] > one["arena_bytes"]
    assert eight["peak_bytes"] > one["peak_bytes"]
    assert eight["weight_bytes"] == one["weight_bytes"]


def test_optimized_shows_the_folded_graph(run, trained, model):
    """Norms and activations are inside the convolutions."""
    plain, optimized = run("inspect", model).out, run("inspect", model, "--optimized").out

    assert "batch_norm" in plain
    assert "batch_norm" not in optimized
    assert "activation=relu6" in optimized
    assert optimized.startswith(str(trained.inference[0]))


def test_the_plan_has_a_line_a_node(run, trained, model):
    """Every operator that is run is in the plan, in the order of the graph, with its place in memory."""
    nodes = [node.op.name for node in trained.execution[0].nodes]

    lines = run("inspect", model, "--plan").out.splitlines()

    steps = [line for line in lines if re.match(r" +\d+  \w+ .* bytes at \d+", line)]
    assert [step.split()[1] for step in steps] == nodes


@pytest.mark.parametrize("optimized", [False, True])
def test_dot_is_a_graph_of_all_nodes(run, trained, model, optimized):
    """Each operator is one box, each edge joins two declared boxes, braces and quotes are balanced."""
    graph = trained.inference[0] if optimized else trained.graph

    text = run("inspect", model, "--dot", *(["--optimized"] if optimized else [])).out

    edges = re.findall(r'^  (n\d+|"[^"]*") -> (n\d+|"[^"]*")', text, re.MULTILINE)
    declared = set(re.findall(r'^  (n\d+|"[^"]*") \[', text, re.MULTILINE))
    assert text.startswith("digraph ")
    assert text.rstrip().endswith("}")
    assert text.count('"') % 2 == 0
    assert sum(name.startswith("n") for name in declared) == len(graph.nodes)
    assert {end for pair in edges for end in pair} <= declared
    assert len(edges) == sum(len(node.inputs) for node in graph.nodes) + len(graph.outputs)


def test_a_tflite_file_has_a_program_too(run, tflite):
    """What it was read as: the layers of the network, with weights and activations as floats."""
    result = run("inspect", tflite)

    assert result.code == 0
    assert "conv2d(" in result.out
    assert "param head.weight: f32[" in result.out


def test_the_memory_plan_is_drawn(run, model, tmp_path):
    """Of inference, of a training step, and of one that makes activations twice, which needs less."""
    files = [tmp_path / name for name in ("inference.svg", "training.svg", "recompute.svg")]
    options = ([], ["--train", "--recompute", "none"], ["--train", "--recompute", "activations"])

    results = [
        run("inspect", model, "--batch", 8, "--memory", file, "--json", *more)
        for file, more in zip(files, options, strict=True)
    ]

    assert [result.code for result in results] == [0, 0, 0]
    inference, training, again = (result.json["arena_bytes"] for result in results)
    assert inference < again < training
    assert all(file.read_text("utf-8").startswith("<svg ") for file in files)
    assert "backward" in files[1].read_text("utf-8")


def test_recomputing_without_training_is_a_mistake(run, model):
    """Said, and not ignored."""
    result = run("inspect", model, "--recompute", "activations")

    assert result.code == 2
    assert "--recompute goes with --train" in result.err


def test_delegates_of_a_file_are_reported(run, tflite, model, refused):
    """A line each with shares, then reasons and sources; JSON has all of it; another file is refused."""
    printed, facts = run("inspect", tflite, "--delegates"), run("inspect", tflite, "--delegates", "--json").json

    assert [found["delegate"] for found in facts["delegates"]] == ["XNNPACK", "GPU", "Core ML", "NNAPI", "Edge TPU"]
    assert facts["delegates"][0]["share_of_multiply_adds"] == 1
    assert facts["delegates"][2]["taken"] == 0
    assert "deprecated in Android 15" in printed.out
    assert "1 × QUANTIZE: it makes int8 of uint8" in printed.out
    assert "source: " in printed.out
    assert str(model) in refused("inspect", model, "--delegates")
