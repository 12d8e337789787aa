"""Session: what is wrong is said before the first run, parameters live in the workspace."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.errors import EdgeError, GraphError, ShapeError, UsageError
from edge_sdk.op import Op
from edge_sdk.ops.activation import Relu, Tanh
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.session import Session, run_once
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace


def dense():
    """Return y = x · wᵀ + b with w = 1, 2 and b = 10."""
    g = Builder("dense")
    x, mask = g.input("x", Spec((BATCH, 2))), g.input("mask", Spec((BATCH, 1)))
    y = g.add(Linear(), x, g.param("weight", Spec((1, 2))), g.param("bias", Spec((1,))))
    arrays = {"weight": np.array([[1, 2]], np.float32), "bias": np.array([10], np.float32)}
    return g.build(g.add(Add(), y, mask, name="y")), Workspace(arrays)


def counter():
    """A state that grows by one each run, and x + state."""
    g = Builder("counter")
    state, one = g.param("state", Spec((1,))), g.param("one", Spec((1,)))
    new = g.add(Add(), state, one, name="new")
    g.update(state, new)
    graph = g.build(g.add(Add(), g.input("x", Spec((1,))), new, name="y"))
    return graph, Workspace({"state": np.zeros(1, np.float32), "one": np.ones(1, np.float32)})


FEEDS = {"x": np.ones((3, 2), np.float32), "mask": np.zeros((3, 1), np.float32)}
ONE = {"x": np.ones(1, np.float32)}


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_run_by_hand(device):
    """1 · 1 + 2 · 1 + 10, for each of three rows."""
    assert Session(*dense(), device, batch=3).run(FEEDS)["y"].tolist() == [[13.0]] * 3


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": FEEDS["x"]}, "graph 'dense': input 'mask' was not fed; it takes x, mask"),
        ({**FEEDS, "mosk": FEEDS["x"]}, "no input 'mosk'; it takes x, mask; did you mean 'mask'"),
        ({**FEEDS, "weight": FEEDS["x"]}, "no input 'weight'"),
        ({}, "input 'x' was not fed"),
        ({**FEEDS, "x": np.ones((2, 2), np.float32)}, r"input 'x' is f32\[3,2\], but the array fed is \[2, 2\]"),
        ({**FEEDS, "x": np.ones((3, 2, 1), np.float32)}, r"but the array fed is \[3, 2, 1\]"),
        ({**FEEDS, "x": 1.0}, r"but the array fed is \[\]"),
        ({**FEEDS, "x": np.ones((3, 2), np.complex64)}, r"input 'x' is f32\[3,2\], but the array fed is complex64"),
        ({**FEEDS, "x": np.full((3, 2), "a")}, "but the array fed is <U1"),
        ({**FEEDS, "x": np.full((3, 2), None)}, "but the array fed is object"),
    ],
)
def test_wrong_feeds_are_refused_by_name(feeds, message):
    """Missing, misspelt, of another shape or of another kind; the Session is fit for use after that."""
    session = Session(*dense(), batch=3)

    with pytest.raises(EdgeError, match=message):
        session.run(feeds)

    assert session.run(FEEDS)["y"].tolist() == [[13.0]] * 3


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint8", "bool"])
def test_feeds_that_can_be_converted_are(dtype):
    """Numbers of any width and order of axes are taken; a list is an array."""
    feeds = {"x": np.asfortranarray(np.ones((3, 2), dtype)), "mask": [[0], [0], [0]]}

    assert Session(*dense(), batch=3).run(feeds)["y"].tolist() == [[13.0]] * 3


def test_fractions_are_not_cut_to_whole_numbers():
    """A float label is a mistake, not a label."""
    g = Builder("net")
    graph = g.build(g.add(Add(), g.input("x", Spec((1,), "int32")), "x"))

    with pytest.raises(ShapeError, match=r"input 'x' is i32\[1\], but the array fed is float32"):
        Session(graph, Workspace(), "reference").run(ONE)


def test_an_open_batch_must_be_given():
    """The message says how."""
    with pytest.raises(UsageError, match=re.escape("input 'x' has an open batch; give Session(batch=…)")):
        Session(*dense())


def test_run_once_takes_the_batch_from_the_feeds():
    """For a single run nobody has to say it."""
    assert run_once(*dense(), FEEDS)["y"].shape == (3, 1)
    with pytest.raises(UsageError, match="open batch"):
        run_once(*dense(), {})


def test_an_unknown_device_gets_a_suggestion():
    """The message lists the devices."""
    with pytest.raises(UsageError, match="device 'cpus' is not one of cpu, gpu, reference; did you mean 'cpu'"):
        Session(*dense(), "cpus", batch=3)


def test_a_missing_or_misfit_parameter_is_named():
    """Before the first run."""
    graph, arrays = dense()
    with pytest.raises(GraphError, match="no array 'bias'"):
        Session(graph, Workspace({"weight": arrays["weight"]}), batch=3)
    arrays["bias"] = np.zeros(2, np.float32)
    with pytest.raises(GraphError, match=r"'bias' is f32\[1\], but its array is float32\[2\]"):
        Session(graph, arrays, batch=3)


@dataclass(frozen=True)
class Homeless(Op, name="test_without_kernel"):
    """An operator that nobody computes."""

    def infer(self, x: Spec) -> Spec:
        return x


def test_operators_without_kernel_are_named_together():
    """The message says where they are and what to write."""
    g = Builder("net")
    x = g.add(Homeless(), g.input("x", Spec((1,))), name="here")
    graph = g.build(g.add(Homeless(), g.add(Relu(), x)))

    with pytest.raises(GraphError, match=r"no cpu kernel for test_without_kernel \(node 'here'\); declare one"):
        Session(graph, Workspace())


def test_updates_are_applied_in_the_workspace():
    """The caller's arrays hold the state; each run sees the state of the one before."""
    graph, arrays = counter()
    session = Session(graph, arrays)

    results = [session.run(ONE)["y"].tolist() for _ in range(3)]

    assert results == [[2.0], [3.0], [4.0]]
    assert arrays["state"].tolist() == [3.0]
    assert arrays["one"].tolist() == [1.0]


def test_a_parameter_exchanged_or_written_is_seen():
    """A learning rate is written between steps; a checkpoint brings other arrays."""
    session = Session(*counter())

    session.workspace["state"][...] = 10
    written = session.run(ONE)["y"].tolist()
    session.workspace["state"] = np.array([20], np.float32)
    exchanged = session.run(ONE)["y"].tolist()

    assert (written, exchanged) == ([12.0], [22.0])
    assert session.workspace["state"].tolist() == [21.0]


def test_an_exchanged_parameter_must_fit():
    """It is checked like the first one."""
    session = Session(*counter())
    session.workspace["state"] = np.zeros(2, np.float32)

    with pytest.raises(GraphError, match="parameter 'state'"):
        session.run(ONE)


def test_a_read_only_parameter_is_copied_before_it_is_updated():
    """The caller's array stays; the workspace holds the writable one."""
    graph, arrays = counter()
    frozen = arrays["state"]
    frozen.flags.writeable = False

    Session(graph, arrays).run(ONE)

    assert frozen.tolist() == [0.0]
    assert arrays["state"].tolist() == [1.0]


def test_results_belong_to_the_caller():
    """A later run does not change them, and writing into them changes no later run."""
    session = Session(*dense(), batch=3)
    first = session.run(FEEDS)["y"]

    first[...] = -1
    second = session.run({**FEEDS, "mask": np.ones((3, 1), np.float32)})["y"]

    assert first.tolist() == [[-1.0]] * 3
    assert second.tolist() == [[14.0]] * 3


def test_a_profile_names_every_node_and_counts_as_runs():
    """One entry a node in order, with its kernel; updates are applied once a run and once to warm up."""
    graph, arrays = counter()

    times = Session(graph, arrays).profile(ONE, runs=4)

    assert [(time.value, time.op) for time in times] == [("new", "add"), ("y", "add")]
    assert all(time.seconds >= 0 and time.algorithm for time in times)
    assert arrays["state"].tolist() == [5.0]


def test_a_plan_is_a_table():
    """A line a node: operator, kernel, bytes and place; then the peak."""
    graph, arrays = counter()
    plan = Session(graph, arrays).plan

    lines = str(plan).splitlines()

    assert re.fullmatch(r"plan of counter on cpu, \d+ threads \((omp|tbb|workqueue)\)", lines[0])
    assert re.fullmatch(r" +0  add  \w+ +new: 4 bytes in its parameter", lines[1])
    assert re.fullmatch(r" +1  add  \w+ +y: 4 bytes at \d+", lines[2])
    assert lines[3] == plan.summary()
    assert plan.summary().startswith("planned peak 0.0 MiB: parameters 0.0 MiB, arena 0.0 MiB")
    assert plan.parameter_bytes == 8


def test_threads_take_turns():
    """Many threads on one Session: every caller gets the result of its own feeds."""
    g = Builder("net")
    session = Session(g.build(g.add(Tanh(), g.input("x", Spec((5000,))), name="y")), Workspace())
    errors = []

    def work(number):
        x = np.full(5000, number / 10, np.float32)
        errors.extend(float(np.max(np.abs(session.run({"x": x})["y"] - np.tanh(x)))) for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(errors) == 120
    assert max(errors) < 1e-6
