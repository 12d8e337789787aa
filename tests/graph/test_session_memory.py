"""A Session takes its memory once: as much as was planned, and no more however often it runs."""

from __future__ import annotations

import gc
import mmap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_session, training_step

KIB, MIB = 1 << 10, 1 << 20
PAGE = mmap.PAGESIZE


def convolutions():
    """A few convolutions on an image of which some MiB are in use at a time, folded and fused."""
    net = Network("memory", (96, 96, 3))
    x = net.image
    for layer in range(3):
        y = net.activation(net.conv(x, 16, 3, f"conv{layer}"), "relu")
        x = y if layer == 0 else net.add(x, y)
    return run_pipeline("inference", *net.head(net.global_average_pool(x), 2))


def test_the_planned_peak_is_the_peak():
    """What NumPy allocates for a Session and its runs is the plan's arena and packed weights, within 10 %."""
    graph, arrays = convolutions()
    feeds = {"image": np.zeros((4, 96, 96, 3), np.float32)}
    Session(graph, arrays, batch=4).run(feeds)  # compiles kernels and fills caches
    gc.collect()

    tracemalloc.start()
    try:
        session = Session(graph, arrays, batch=4)
        session.run(feeds)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    plan = session.plan
    assert plan.arena_bytes > 4 * MIB
    parameters = sum(array.nbytes for array in arrays.values())
    assert peak == pytest.approx(plan.arena_bytes + plan.packed_bytes, rel=0.1)
    assert plan.arena_bytes < plan.unshared_bytes
    assert plan.peak_bytes == parameters + plan.arena_bytes + plan.packed_bytes


def test_packed_weights_are_part_of_the_peak_and_stand_in_the_plan():
    """A layer whose weights are most of its memory: what is allocated for it is what the plan says, once."""
    net = Network("packed", (4, 4, 3))
    hidden = net.linear(net.flatten(net.image), 2048, "wide")
    graph, arrays = run_pipeline("inference", *net.head(net.linear(hidden, 512, "narrow"), 2))
    feeds = {"image": np.zeros((32, 4, 4, 3), np.float32)}
    Session(graph, arrays, batch=32).run(feeds)
    gc.collect()

    tracemalloc.start()
    try:
        session = Session(graph, arrays, batch=32)
        session.run(feeds)
        _, allocated = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    plan = session.plan
    assert plan.packed_bytes >= 2048 * 512 * 4
    assert allocated == pytest.approx(plan.peak_bytes - plan.parameter_bytes, rel=0.1)
    shown = [line for line in str(plan).splitlines() if line.startswith("packed weights: ")]
    assert shown == [f"packed weights: {plan.packed_bytes / MIB:.1f} MiB, made anew when the parameters change"]


def test_weights_that_are_packed_in_every_run_are_counted_in_the_arena():
    """A training step keeps no form of weights that it changes: no packed weights stand beside the arena."""
    step = training_step(tiny_model(), SGD(), learning_rate=0.01)

    plan = Session(step.graph, step.workspace, batch=4).plan

    assert plan.packed_bytes == 0
    assert plan.peak_bytes == plan.parameter_bytes + plan.arena_bytes
    assert "packed weights" not in str(plan)


@pytest.mark.parametrize("form", ["inference", "training"])
def test_a_hundred_runs_take_no_more_memory_than_one(form):
    """Neither NumPy's arrays nor Python's objects pile up, and the arena stays where it is."""
    model, feeds = tiny_model(), {"image": np.zeros((16, 16, 16, 3), np.float32)}
    if form == "training":
        step = training_step(model, SGD(), learning_rate=0.01)
        session = Session(step.graph, step.workspace, batch=16)
        feeds["label"] = np.zeros(16, np.int32)
    else:
        session = Session(*model.inference, batch=16)
    for _ in range(3):
        session.run(feeds)
    arena, size = session._arena.ctypes.data, session._arena.nbytes
    gc.collect()

    tracemalloc.start()
    try:
        session.run(feeds)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            session.run(feeds)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 4 * KIB
    assert peak - before < 64 * KIB < size
    assert (session._arena.ctypes.data, session._arena.nbytes) == (arena, size)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="resident memory is read from Linux' /proc")
@pytest.mark.parametrize("recompute", [None, "activations"])
def test_the_process_does_not_grow_in_two_hundred_steps(recompute):
    """Nor is anything taken behind Python's back: resident pages stay what they were after the first steps."""
    session = training_session(tiny_model(), batch=16, recompute=recompute)
    feeds = {"image": np.zeros((16, 16, 16, 3), np.float32), "label": np.zeros(16, np.int32)}

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE

    for _ in range(20):
        session.run(feeds)
    before = resident()
    for _ in range(200):
        session.run(feeds)

    assert resident() - before < MIB // 2


def test_initial_weights_are_not_held_twice():
    """A large layer is drawn in pieces: its float64 numbers are never there as a whole."""
    net = Network("large", (32, 32, 3))
    x = net.flatten(net.image)

    tracemalloc.start()
    try:
        net.linear(x, 1000, "dense")
        assert net.workspace["dense.weight"].shape == (1000, 32 * 32 * 3)  # drawn when it is asked for
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    weights = 4 * 1000 * 32 * 32 * 3
    assert weights < peak < 1.6 * weights


def test_what_does_not_train_is_not_copied():
    """With a frozen backbone a training step takes no more than the classifier and the folded layers."""
    net = Network("large", (32, 32, 3))
    hidden = net.activation(net.linear(net.flatten(net.image), 1000, "dense"), "relu")
    graph, workspace = net.head(hidden, 2)
    model = Model(graph, workspace, Preprocess((32, 32)), ("a", "b"))
    training_step(model, SGD(), learning_rate=0.1, freeze="backbone")  # imports what it needs
    gc.collect()

    tracemalloc.start()
    try:
        training_step(model, SGD(), learning_rate=0.1, freeze="backbone")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MIB < workspace["dense.weight"].nbytes
