"""Every operator, written for 2.14, runs in tflite-runtime 2.14, in an environment of its own.

    pytest -m old_runtime

It needs Python 3.11, NumPy 1 and a package index.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from clients.environments import run
from lowered_cases import LOWERED, graph_of

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.quantization import Quantize
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace

pytestmark = [pytest.mark.clients, pytest.mark.old_runtime]

RUN = """
import json, sys
from pathlib import Path
import numpy as np
from tflite_runtime.interpreter import Interpreter

found = {}
for path in sorted(Path(sys.argv[1]).glob("*.tflite")):
    fed = np.load(path.with_suffix(".npz"))
    try:
        interpreter = Interpreter(str(path))
        for index, details in enumerate(interpreter.get_input_details()):
            interpreter.resize_tensor_input(details["index"], fed[str(index)].shape)
        interpreter.allocate_tensors()
        for index, details in enumerate(interpreter.get_input_details()):
            interpreter.set_tensor(details["index"], fed[str(index)])
        interpreter.invoke()
    except ValueError as error:
        found[path.stem] = str(error)
        continue
    outputs = [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]
    np.savez(path.with_suffix(".out.npz"), *outputs)
print(json.dumps(found))
"""


def test_every_operator_written_for_it_runs_in_it(old_python, tmp_path):
    """All rows of the operator table give what they give in the new runtime."""
    cases = {f"{index:03}": case for index, case in enumerate(LOWERED)}
    answers = {}
    for name, case in cases.items():
        graph, workspace, feeds = graph_of(case)
        data = write(graph, workspace, min_runtime="2.14").data
        model = TFLiteModel(data)
        answers[name] = list(model.invoke(feeds).values())
        (tmp_path / f"{name}.tflite").write_bytes(data)
        inputs = {str(index): feeds[info.name] for index, info in enumerate(model.inputs)}
        np.savez(tmp_path / f"{name}.npz", **inputs)

    done = run(old_python, "-c", RUN, tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
    for name, case in cases.items():
        stored = np.load(tmp_path / f"{name}.out.npz")
        for index, expected in enumerate(answers[name]):
            found = stored[f"arr_{index}"]
            scale = float(np.max(np.abs(expected.astype(np.float64)), initial=0)) or 1.0
            # Halves are rounded to even by the new runtime, away from zero by the old one: one unit apart.
            tolerance = 1 / scale if isinstance(case.op, Quantize) else 1e-4
            np.testing.assert_allclose(
                found.astype(np.float64) / scale, expected.astype(np.float64) / scale, atol=tolerance, err_msg=str(case)
            )


def test_a_form_of_2_17_is_refused_by_2_14_and_not_written_for_it(old_python, tmp_path):
    """A scale an output of a dense layer: the old runtime says which version it lacks, and the target avoids it."""
    g, arrays = Builder("dense"), Workspace({"w": np.ones((4, 512), np.float32)})
    graph = g.build(g.add(Linear(), g.input("x", Spec((1, 512))), g.param("w", Spec((4, 512))), name="y"))
    for name, target in (("new", "2.17"), ("old", "2.14")):
        (tmp_path / f"{name}.tflite").write_bytes(write(graph, arrays, "int8", min_runtime=target).data)
        np.savez(tmp_path / f"{name}.npz", **{"0": np.ones((1, 512), np.float32)})

    refused = json.loads(run(old_python, "-c", RUN, tmp_path).stdout)

    assert list(refused) == ["new"]
    assert "FULLY_CONNECTED" in refused["new"]
    assert "version '12'" in refused["new"]
