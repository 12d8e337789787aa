"""Sessions with libraries: plans that name them, scratch in the arena, choices that are measured and remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu.computed_cublas import ComputedFunctions
from gpu.computed_cudnn import ComputedCudnn
from gpu.real_libraries import cublas_functions, cudnn_functions
from tiny_models import tiny_model

from edge_sdk import autotune
from edge_sdk.builder import Builder
from edge_sdk.kernel import load_device
from edge_sdk.kernels.gpu import cublas, cudnn
from edge_sdk.kernels.gpu.cublas import Cublas
from edge_sdk.ops.conv import Conv2D
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.training.step import training_session
from edge_sdk.workspace import Workspace

load_device("gpu")

pytestmark = pytest.mark.nvidia_libraries


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both libraries, as a machine with a GPU has them."""
    convolutions = ComputedCudnn(cudnn_functions())
    products = Cublas(ComputedFunctions(cublas_functions()), None, None)
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(cudnn, "current_cudnn", lambda: convolutions)
    monkeypatch.setattr(cublas, "current_cublas", lambda: products)


def test_a_network_learns_by_libraries_what_it_learns_on_the_reference_device() -> None:
    """After two steps, with workspaces in the arena between the values, every parameter is that of NumPy."""
    arrays, used = {}, set()
    for device in ("reference", "gpu"):
        model = tiny_model()
        session = training_session(model, 4, "sgd", 0.01, device=device, recompute=None)
        rng = np.random.default_rng(1)
        for _ in range(2):
            feeds = {
                "image": rng.standard_normal((4, *model.preprocess.shape), np.float32),
                "label": rng.integers(0, len(model.labels), 4).astype(np.int32),
            }
            session.run(feeds)
        arrays[device] = {name: session.workspace[name] for name in session.graph.params}
        used |= {(step.op, step.algorithm) for step in session.plan.steps}

    assert {"cudnn", "cublas"} <= {algorithm for _, algorithm in used}
    for name, wanted in arrays["reference"].items():
        largest = max(float(np.abs(wanted).max(initial=0)), 1e-3)
        assert float(np.abs(arrays["gpu"][name] - wanted).max(initial=0)) <= 2e-3 * largest, name


def test_the_fastest_of_engines_and_our_own_kernel_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every alternative is run on the device; a second Session takes the times from the disk."""
    g = Builder("measured")
    x, w = g.input("x", Spec((1, 6, 6, 4))), g.param("w", Spec((4, 3, 3, 4)))
    graph = g.build(g.add(Conv2D(padding="same"), x, w, name="y"))
    workspace = Workspace({"w": np.ones((4, 3, 3, 4), np.float32)})
    measured: list[list[str]] = []
    times = {"cudnn": 3.0, "cudnn second": 1.0, "conv2d": 2.0}

    def stand_in(candidates, *rest):  # the real one first: it must work on the device
        names = [candidate.algorithm for candidate in candidates]
        assert all(seconds > 0 for seconds in seconds_of(candidates, *rest))
        measured.append(names)
        return [times[name] for name in names]

    seconds_of = autotune.measured_seconds
    monkeypatch.setattr(autotune, "measured_seconds", stand_in)
    plans = [Session(graph, workspace, "gpu", autotune=True).plan for _ in range(2)]

    assert measured == [["cudnn", "cudnn second", "conv2d"]]
    assert [plan.steps[0].algorithm for plan in plans] == ["cudnn second", "cudnn second"]
