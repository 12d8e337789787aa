"""Training with precision bf16: as good as float32, opted in by name, exactly resumed, refused where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import UsageError
from edge_sdk.kernel import device_precisions
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.solar_cells import load_solar_cells
from edge_sdk.printer import program
from edge_sdk.training.fit import LAST, Interrupted, Silent
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step

SIDE = 32
TYPES = ("mono", "poly")
SEEDS = range(5)

needs_instructions = pytest.mark.skipif(
    "bfloat16" not in device_precisions("cpu"), reason="the processor has no avx512_bf16"
)


def network(seed: int = 0) -> Model:
    """A stem, two residual blocks of 1×1 convolutions behind strided ones, with batch norms, and two dense layers."""
    net = Network("cells", (SIDE, SIDE, 3), seed)

    def convolution(x, channels, kernel, name, stride=1):
        return net.batch_norm(net.conv(x, channels, kernel, name, stride), f"{name}.norm")

    x = net.activation(convolution(net.image, 16, 3, "stem", 2), "relu")
    for i, channels in enumerate((32, 64)):
        x = net.activation(convolution(x, channels, 3, f"down{i}", 2), "relu")
        y = net.activation(convolution(x, channels, 1, f"first{i}"), "relu")
        x = net.activation(net.add(x, convolution(y, channels, 1, f"second{i}")), "relu")
    x = net.activation(net.linear(net.flatten(x), 64, "dense"), "relu")
    graph, workspace = net.head(x, len(TYPES))
    preprocess = Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(64.0,) * 3)
    return Model(graph, workspace, preprocess, TYPES, {"architecture": "cells"})


@cache
def cells() -> ArrayDataset:
    """Every third photo of the solar cells, small, by cell type."""
    whole = load_solar_cells()
    chosen = range(0, len(whole), 3)
    pixels = np.stack([np.asarray(whole.photo(i, SIDE).resize((SIDE, SIDE))) for i in chosen])
    return ArrayDataset.of(pixels, [whole.label(i) // 2 for i in chosen], TYPES)


@needs_instructions
@pytest.mark.long
def test_runs_end_within_the_noise_of_seeds():
    """Real photos, three epochs: the means over seeds differ by less than float32's own runs do from each other."""
    pytest.importorskip("elpv_dataset", reason="the photos are not installed")
    settings = {"epochs": 3, "batch_size": 32, "learning_rate": 0.02, "augment": "off"}

    runs = {
        precision: [edge.fit(network(seed), cells(), seed=seed, precision=precision, **settings) for seed in SEEDS]
        for precision in ("float32", "bf16")
    }

    for name in ("loss", "validation_accuracy"):
        ends = {key: np.array([getattr(run.history[-1], name) for run in runs[key]]) for key in runs}
        assert not np.array_equal(ends["bf16"], ends["float32"])
        assert abs(ends["bf16"].mean() - ends["float32"].mean()) <= np.ptp(ends["float32"])
    assert min(run.history[-1].validation_accuracy for run in runs["bf16"]) > 0.9


@needs_instructions
def test_one_step_moves_the_weights_alike():
    """Each layer goes where float32 sends it: cosines above 0.95, though relu opens for other numbers near zero."""
    random = np.random.default_rng(0)
    feeds = {"image": random.standard_normal((8, SIDE, SIDE, 3), np.float32), "label": np.arange(8) % len(TYPES)}
    before = network().workspace
    after = {}
    for precision in ("float32", "bf16"):
        session = edge.training_session(network(), batch=8, learning_rate=1.0, momentum=0.0, precision=precision)
        session.run(feeds)
        after[precision] = session.workspace

    for name in (name for name in before if name.endswith("weight")):
        full, half = ((after[key][name] - before[name]).ravel() for key in ("float32", "bf16"))
        assert not np.array_equal(full, half)
        assert full @ half > 0.95 * np.linalg.norm(full) * np.linalg.norm(half)


@needs_instructions
def test_the_program_shows_what_rounds():
    """Forward and backward, in the graph and in the plan; state and weights are float32 throughout."""
    session = edge.training_session(network(), batch=4, precision="bf16")

    text, plan = program(session.graph), session.plan

    assert text.count("precision=bfloat16") == 7 + 7 + 7  # products, their gradients to values and to weights
    rounding = [
        (step.op, node.op)
        for step, node in zip(plan.steps, session.graph.nodes, strict=True)
        if step.algorithm.startswith("bfloat16")
    ]
    assert {name for name, _ in rounding} >= {"conv2d_statistics", "conv2d_grad_input", "conv2d_grad_weight", "linear"}
    assert all(op.precision == "bfloat16" for _, op in rounding)  # a permission: cost decides who uses it
    assert {session.graph.specs[param].dtype for param in session.graph.params} == {"float32", "int64"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos of three colours."""
    return write_photos(tmp_path_factory.mktemp("photos"))


class StopAfter(Silent):
    """Presses Ctrl-C after some batches."""

    def __init__(self, batches):
        self.left = batches

    def on_batch(self, epoch, batch, loss):
        """Count down."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@needs_instructions
def test_a_run_is_resumed_in_its_own_precision(photos, tmp_path):
    """The provenance and the checkpoint name it: the same ends with the same bytes, another one is refused."""
    settings = {"epochs": 2, "batch_size": 6, "learning_rate": 0.05}
    whole = edge.fit(tiny_model(), photos, out=tmp_path / "whole", precision="bf16", **settings)
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        edge.fit(tiny_model(), photos, out=out, precision="bf16", listener=StopAfter(5), **settings)

    with pytest.raises(UsageError, match="precision = 'bf16', now it is 'float32'"):
        edge.fit(tiny_model(), photos, out=out, resume=True, **settings)
    edge.fit(tiny_model(), photos, out=out, precision="bf16", resume=True, **settings)

    assert (out / LAST).read_bytes() == (whole.folder / LAST).read_bytes()
    assert edge.load(out / LAST).provenance["training"]["settings"]["precision"] == "bf16"
    assert "bfloat16" not in program(edge.load(out / LAST).graph)


def test_an_unknown_precision_gets_a_suggestion(photos):
    """Before a photo is read."""
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        edge.fit(tiny_model(), photos, precision="bf61")


def test_the_reference_device_does_not_round():
    """It computes what the CPU is compared with."""
    with pytest.raises(UsageError, match="precision 'bf16' on device 'reference': it needs device 'gpu'"):
        edge.training_session(tiny_model(), batch=2, device="reference", precision="bf16")


def test_float16_is_for_gpus():
    """On a processor it is refused in one line, wherever it is asked for, before a photo is read."""
    with pytest.raises(UsageError, match="precision 'fp16' on device 'cpu': it needs device 'gpu'") as error:
        edge.training_session(tiny_model(), batch=2, precision="fp16")
    with pytest.raises(UsageError, match="needs device 'gpu'"):
        training_step(tiny_model(), SGD(), learning_rate=0.1, precision="fp16")
    with pytest.raises(UsageError, match="needs device 'gpu'"):
        edge.fit(tiny_model(), None, precision="fp16")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_tf32_is_for_gpus(device):
    """Elsewhere it would be float32 by another name."""
    with pytest.raises(UsageError, match="needs an NVIDIA GPU"):
        edge.training_session(tiny_model(), batch=2, device=device, precision="tf32")


def test_a_processor_without_the_instructions_is_named():
    """Compiled for an older one: the message says what is needed and what to do instead."""
    call = "import edge_sdk as edge; edge.fit(None, None, precision='bf16', device='cpu')"
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3", "EDGE_SIMD_LANES": "8"}

    result = subprocess.run(
        [sys.executable, "-c", call], env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    assert result.returncode == 1
    assert "avx512_bf16" in result.stderr
    assert "train with precision 'float32'" in result.stderr
