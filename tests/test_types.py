"""A user's program is checked against the public types: right calls pass, wrong ones are found before they run."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from source_tree import ROOT, lay_out

pytest.importorskip("mypy", reason="mypy is not installed")

PROGRAM = """
from pathlib import Path

import numpy as np

import edge_sdk as edge
from edge_sdk import pretrained

model = pretrained.load("resnet18", weights=None, num_classes=10)
reveal_type(model)
reveal_type(model.labels)
reveal_type(model.predict("cat.jpg"))
reveal_type(model.predict([Path("cat.jpg"), "dog.jpg"]))
for label, probability in model.predict(np.zeros((8, 8, 3), np.uint8), top=3):
    print(label.upper(), probability + 1)
logits = model.run(np.zeros((1, 224, 224, 3), np.float32))
reveal_type(model.save(Path("m.edge")))
reveal_type(edge.load("m.edge"))

run = edge.fit(model, "photos/", epochs=5, freeze="backbone", out="runs/a", seed=0)
reveal_type(run.model)
reveal_type(run.history[-1].validation_accuracy)

evaluation = edge.evaluate("m.tflite", "photos/val")
reveal_type(evaluation.top1)
reveal_type(evaluation.per_class)

report = edge.export(model, "m.tflite", quantize="int8", calibrate=Path("photos/train"))
reveal_type(report.agreement)

session = edge.training_session(model, batch=16, optimizer="sgd", learning_rate=0.01, momentum=0.9, freeze=None)
reveal_type(session)
results = session.run({"image": np.zeros((16, 224, 224, 3)), "label": np.zeros(16, np.int64)})
loss = float(results["loss"])

builder = edge.Builder("graph")
x = builder.input("x", edge.Spec((edge.BATCH, 4)))
reveal_type(x)
graph = builder.build(x)
reveal_type(graph)
try:
    edge.Session(graph, edge.Workspace(), batch=2)
except edge.EdgeError as error:
    reveal_type(error)
"""

REVEALED = [
    "edge_sdk.model.Model",
    "tuple[str, ...]",
    "list[tuple[str, float]]",
    "list[list[tuple[str, float]]]",
    "None",
    "edge_sdk.model.Model",
    "edge_sdk.model.Model",
    "float | None",
    "float",
    "tuple[edge_sdk.evaluation.ClassAccuracy, ...]",
    "float",
    "edge_sdk.session.Session",
    "edge_sdk.spec.Value",
    "edge_sdk.graph.Graph",
    "edge_sdk.errors.EdgeError",
]

MISTAKES = {
    'edge.export(model, "m.tflite", quantize="int4")': "arg-type",
    "edge.fit(model, 3)": "arg-type",
    "edge.evaluate(model)": "call-arg",
    "model.labels = ()": "misc",
    "pretrained.load(name=18)": "arg-type",
    'edge.Spec("x")': "arg-type",
}


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Return what mypy --strict says about a program; the sources are checked once and remembered."""
    folder = tmp_path_factory.mktemp("types")
    tree = lay_out(folder / "tree")

    def messages(program: str) -> list[str]:
        path = folder / "program.py"
        path.write_text(program, encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"),
             "--cache-dir", str(folder / "cache"), "--no-error-summary", "--no-pretty", path.name],
            cwd=folder, env={**os.environ, "MYPYPATH": str(tree)},
            capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
        )  # fmt: skip
        assert not result.stderr
        return result.stdout.splitlines()

    return messages


@pytest.mark.long
def test_a_program_of_the_public_interface_has_the_expected_types(check):
    """Every call of the contract passes --strict, and no result is Any."""
    said = check(PROGRAM)

    revealed = [re.search(r'note: Revealed type is "(.*)"', line) for line in said]
    assert all(revealed), said
    assert [found[1].replace("builtins.", "") for found in revealed] == REVEALED


def test_mistakes_are_found_before_the_program_runs(check):
    """A wrong precision, a wrong type, a missing argument, a misspelt name: one error each, on its line."""
    start = "import edge_sdk as edge\nfrom edge_sdk import pretrained\nmodel = edge.load('m.edge')\n"

    said = check(start + "\n".join(MISTAKES) + "\n")

    found = {int(line.split(":")[1]) - 4: line.rsplit("[", 1)[1].rstrip("]") for line in said if ": error:" in line}
    assert [found.get(index) for index in range(len(MISTAKES))] == list(MISTAKES.values()), said
