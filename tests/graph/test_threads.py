"""How many threads compute: where the number comes from, who refuses it, and Sessions that run at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk import threads
from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.elementwise import Add
from edge_sdk.training.step import training_session

BIND = """
import numpy as np
import edge_sdk as edge
from edge_sdk import threads
from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Relu

g = Builder("small")
y = g.add(Relu(), g.input("x", edge.Spec((4, 5), "float32")), name="y")
graph = g.build(y)
"""


def small_session(count: int | None = None) -> edge.Session:
    """relu(x) of a 64 × 64 matrix."""
    g = Builder("small")
    y = g.add(Relu(), g.input("x", edge.Spec((64, 64), "float32")), name="y")
    return edge.Session(g.build(y), edge.Workspace(), threads=count)


def run_program(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program after BIND in a fresh process."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", BIND + program],
        env=kept | environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"EDGE_NUM_THREADS": "3"}, (3, 3)),
        ({"NUMBA_NUM_THREADS": "3"}, (3, 3)),
        ({"EDGE_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}, (1, 2)),
        ({"EDGE_NUM_THREADS": "4", "NUMBA_NUM_THREADS": "2"}, (4, 4)),
    ],
    ids=str,
)
def test_the_variable_decides_before_numbas(environment, wanted):
    """EDGE_NUM_THREADS is what a Session takes; enough are started for it, and never fewer than Numba was told."""
    program = "s = edge.Session(graph, edge.Workspace()); print(s.threads, threads._pool.size)"

    result = run_program(program, **environment)

    assert result.stdout.split() == [str(count) for count in wanted], result.stderr


def test_set_threads_counts_for_sessions_that_do_not_say_so_themselves():
    """Called before the first Session it may ask for more than there are processors; a Session's own number wins."""
    program = (
        "edge.set_threads(3); a = edge.Session(graph, edge.Workspace()); edge.set_threads(2)\n"
        "b, c = edge.Session(graph, edge.Workspace()), edge.Session(graph, edge.Workspace(), threads=1)\n"
        "print(a.threads, b.threads, c.threads, edge.get_threads())"
    )

    result = run_program(program, EDGE_NUM_THREADS="1")

    assert result.stdout.split() == ["3", "2", "1", "2"], result.stderr


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²", "1025", "99999999999999"])
@pytest.mark.parametrize("variable", ["EDGE_NUM_THREADS", "NUMBA_NUM_THREADS"])
def test_a_bad_variable_is_named(monkeypatch, variable, value):
    """The error says which variable, and what it holds."""
    monkeypatch.delenv("EDGE_NUM_THREADS", raising=False)
    monkeypatch.setenv(variable, value)

    with pytest.raises(UsageError, match=f"{variable} must be a whole number from 1 to 1024; found {value!r}"):
        edge.get_threads()


@pytest.mark.parametrize("count", [0, -2, 1.5, True, "2", 100_000])
def test_a_bad_number_is_refused(count):
    """By each of the places that take one."""
    with pytest.raises(UsageError, match="whole number from 1 to 1024"):
        small_session(count)
    with pytest.raises(UsageError, match="whole number from 1 to 1024"):
        edge.set_threads(count)


def test_more_threads_than_were_started_are_refused():
    """The threads are started once; the error says how to start more."""
    started = small_session() and threads._pool.size

    with pytest.raises(UsageError, match=f"{started} were started with the first Session; set EDGE_NUM_THREADS="):
        small_session(started + 1)


def test_the_plan_says_how_many_threads_of_which_library():
    """On the CPU; the reference kernels have no threads."""
    session = small_session(1)
    reference = edge.Session(session.graph, edge.Workspace(), device="reference")

    assert session.plan.threading_layer in ("omp", "tbb", "workqueue")
    assert f"cpu, 1 thread ({session.plan.threading_layer})" in str(session.plan)
    assert reference.plan.threading_layer is None


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_sessions_in_several_python_threads_compute_what_they_compute_alone(layer):
    """Twelve threads share four Sessions of one and two compute threads, over either library."""
    program = """
import threading
sessions = [edge.Session(graph, edge.Workspace(), threads=1 + index % 2) for index in range(4)]
wrong = []
def work(seed):
    x = np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)
    for turn in range(50):
        if not np.array_equal(sessions[(seed + turn) % 4].run({"x": x})["y"], np.maximum(x, 0)):
            wrong.append(seed)
workers = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
[w.start() for w in workers], [w.join() for w in workers]
print(len(wrong), threads.threading_layer())
"""

    result = run_program(program, NUMBA_THREADING_LAYER=layer, EDGE_NUM_THREADS="2")

    assert result.stdout.split() == ["0", layer], result.stderr


def test_runs_share_the_processors_and_those_that_write_go_alone(monkeypatch):
    """At no time do more threads compute than there are processors, and none beside a run that goes alone."""
    monkeypatch.setattr(threads, "available_processors", lambda: 3)
    small_session()
    turns, lock = threads._Turns(), threading.Lock()
    running: list[tuple[int, bool]] = []
    seen: set[tuple[tuple[int, bool], ...]] = set()

    def work(count: int, alone: bool) -> None:
        for _ in range(60):
            with turns.taken(count, alone=alone):
                with lock:
                    running.append((count, alone))
                    seen.add(tuple(sorted(running)))
                time.sleep(0.0002)
                with lock:
                    running.remove((count, alone))

    workers = [threading.Thread(target=work, args=each) for each in ((1, False), (2, False), (1, False), (2, True))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert all(sum(count for count, _ in runs) <= 3 for runs in seen)
    assert all(len(runs) == 1 for runs in seen if (2, True) in runs)


def test_runs_that_fit_the_processors_go_on_at_the_same_time(monkeypatch):
    """Each waits inside for the other, which would never come if it had to wait outside."""
    monkeypatch.setattr(threads, "available_processors", lambda: 3)
    monkeypatch.setattr(threads, "_pool", None)  # Numba's workqueue, where it is the only library, lets one in
    turns, meeting = threads._Turns(), threading.Barrier(2, timeout=60)

    def work(count: int) -> None:
        with turns.taken(count, alone=False):
            meeting.wait()

    workers = [threading.Thread(target=work, args=(count,)) for count in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not meeting.broken


def test_training_beside_inference_on_the_same_weights_sees_whole_steps():
    """A Session reads weights that another one updates: both of the values it reads are of the same step."""
    g = Builder("writer")
    a, b = g.param("a", edge.Spec((5000,), "float32")), g.param("b", edge.Spec((5000,), "float32"))
    one = g.param("one", edge.Spec((5000,), "float32"))
    g.update(a, g.add(Add(), a, one, name="a2"))
    g.update(b, last := g.add(Add(), b, one, name="b2"))
    writer_graph = g.build(last)
    r = Builder("reader")
    difference = r.add(
        Add(), r.param("a", edge.Spec((5000,), "float32")), r.param("b", edge.Spec((5000,), "float32")), name="sum"
    )
    workspace = edge.Workspace(
        {"a": np.zeros(5000, np.float32), "b": np.zeros(5000, np.float32), "one": np.ones(5000, np.float32)}
    )
    writer = edge.Session(writer_graph, workspace, threads=1)
    reader = edge.Session(r.build(difference), workspace, threads=1)
    results: list[float] = []
    reading = threading.Thread(target=lambda: results.extend(set(reader.run({})["sum"]).pop() for _ in range(300)))

    reading.start()
    for _ in range(300):
        writer.run({})
    reading.join()

    assert all(value % 2 == 0 for value in results)
    assert len(results) == 300


FORK = """
import os
session = edge.Session(graph, edge.Workspace())
x = -np.ones((4, 5), np.float32)
session.run({"x": x})
child = os.fork()
if child == 0:
    try:
        print(session.run({"x": x})["y"].sum(), flush=True)
    except edge.EdgeError as error:
        print(error, flush=True)
    os._exit(0)
print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("layer", "said"), [("omp", "was forked from"), ("workqueue", "0.0")])
def test_a_forked_child_is_told_what_is_wrong_or_computes(layer, said):
    """GNU OpenMP would end the child without a word; workqueue starts anew."""
    if layer == "omp" and not sys.platform.startswith("linux"):
        pytest.skip("the check is for GNU OpenMP")

    result = run_program(FORK, NUMBA_THREADING_LAYER=layer)

    assert said in result.stdout
    assert "ended with 0" in result.stdout


def test_a_spawned_process_computes():
    """The other way to start a process, which the fork's error recommends."""
    result = run_program(
        "import multiprocessing as m\n"
        "edge.Session(graph, edge.Workspace()).run({'x': np.ones((4, 5), np.float32)})\n"
        "p = m.get_context('spawn').Process(target=print, args=('spawned',)); p.start(); p.join(); print(p.exitcode)"
    )
    assert result.stdout.split() == ["spawned", "0"], result.stderr


def test_training_steps_are_the_same_bytes_for_any_number_of_threads():
    """Three steps of a small residual network, with 1, 2 and 3 threads in one process: every weight and moment."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny_models import tiny_model
from edge_sdk.training.step import training_session
for optimizer in ("sgd", "adam"):
    for count in (1, 2, 3):
        session = training_session(tiny_model(), 5, optimizer, threads=count)
        rng = np.random.default_rng(0)
        for _ in range(3):
            x = rng.standard_normal((5, 16, 16, 3)).astype(np.float32)
            result = session.run({"image": x, "label": np.arange(5, dtype=np.int32) % 3})
        print(optimizer, session.workspace.digest(), result["loss"].tobytes().hex())
"""
    program = program.replace("sys.argv[1]", repr(str(Path(__file__).parents[1])))

    result = run_program(program, EDGE_NUM_THREADS="3")

    lines = result.stdout.splitlines()
    assert len(lines) == 6, result.stderr
    assert len(set(lines[:3])) == 1
    assert len(set(lines[3:])) == 1
    assert lines[0] != lines[3]


def test_model_and_training_session_take_a_number():
    """It reaches the Session below; the logits do not depend on it."""
    model = tiny_model()
    x = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype(np.float32)
    one, many = model.run(x, threads=1), model.run(x)

    assert {session.threads for session in model._sessions.values()} == {1, edge.get_threads()}
    assert one.tobytes() == many.tobytes()
    assert training_session(model, 2, threads=1).threads == 1
