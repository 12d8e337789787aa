"""The scripts in examples/ run as a reader would run them, and what they print is right."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples"


def printed_by(script: str, folder: Path) -> str:
    """Run a script in an empty folder, with warnings as errors, and return what it prints; it must leave no file."""
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script],
        cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not list(folder.iterdir())
    return result.stdout


def losses(text: str) -> list[float]:
    """The numbers behind the word loss, in order."""
    return [float(found) for found in re.findall(r"step +\d+  loss ([\d.]+)", text)]


def test_two_layer_network_learns_the_spirals(tmp_path):
    """The hand-built graph separates two spirals, which no single layer can."""
    text = printed_by("two_layer_relu.py", tmp_path)

    found = losses(text)
    assert found[0] > 0.5
    assert found[-1] < 0.1
    assert "accuracy 1.000" in text.splitlines()[-1]
    assert "update w1 <- sgd_update" in text  # the program is printed, optimizer included
    assert "planned peak" in text


def test_custom_operator_trains_saves_loads_and_exports(tmp_path):
    """An operator from outside the package works everywhere, and is refused clearly where it has no form."""
    text = printed_by("custom_operator.py", tmp_path)

    found = losses(text)
    assert found[-1] < found[0] / 10
    assert "the same logits: True" in text
    assert float(re.search(r"accuracy on new images: ([\d.]+)", text)[1]) >= 0.95
    assert "'LOG': 2, 'TANH': 2" in text
    assert float(re.search(r"in the runtime: (\S+) of", text)[1]) <= 1e-5
    assert "cannot be exported: int8: no 8-bit form of mish" in text


@pytest.fixture(scope="module")
def custom() -> ModuleType:
    """The example imported as a module; its operator can be declared once in a process."""
    spec = importlib.util.spec_from_file_location("custom_operator", EXAMPLES / "custom_operator.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


X = np.array([-90.0, -20.0, -3.0, -0.5, 0.0, 0.5, 3.0, 20.0, 90.0])


@pytest.mark.parametrize(("device", "dtype", "tolerance"), [("reference", "float64", 1e-14), ("cpu", "float32", 1e-6)])
def test_custom_kernels_compute_mish(custom, device, dtype, tolerance):
    """Both kernels give the formula, evaluated by hand in Python's math, without overflow."""
    g = Builder("mish")
    graph = g.build(g.add(custom.Mish(), g.input("x", Spec(X.shape, dtype)), name="y"))

    y = Session(graph, Workspace(), device).run({"x": X.astype(dtype)})["y"]

    wanted = [x * math.tanh(math.log1p(math.exp(x))) for x in X]
    np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=1e-37)


@pytest.mark.parametrize(("device", "dtype", "tolerance"), [("reference", "float64", 1e-8), ("cpu", "float32", 1e-6)])
def test_custom_gradient_is_the_slope(custom, device, dtype, tolerance):
    """The gradient equals central differences of the formula in float64."""
    g = Builder("mish")
    x, seed = g.input("x", Spec(X.shape, dtype)), g.input("seed", Spec(X.shape, dtype))
    (dx,) = gradient(g, g.add(custom.Mish(), x), [x], seed=seed)
    session = Session(g.build(dx), Workspace(), device)

    slope = session.run({"x": X.astype(dtype), "seed": np.full(X.shape, 2, dtype)})[dx]

    def formula(x: float) -> float:
        return x * math.tanh(math.log1p(math.exp(x)))

    wanted = [2 * (formula(x + 1e-5) - formula(x - 1e-5)) / 2e-5 for x in X]
    np.testing.assert_allclose(slope, wanted, rtol=tolerance, atol=tolerance)
