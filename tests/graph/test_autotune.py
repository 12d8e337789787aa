"""Algorithms chosen by measuring: once for a machine, remembered on disk, whatever happens to the file."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import edge_sdk.kernel as registry
from edge_sdk import autotune
from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph
from edge_sdk.kernel import kernel
from edge_sdk.op import Op
from edge_sdk.session import Session
from edge_sdk.spec import Array, Spec
from edge_sdk.training.step import training_session
from edge_sdk.workspace import Workspace

SLEEP = 0.02  # seconds: much longer than the other algorithm takes, on a busy machine too


@dataclass(frozen=True)
class Doubled(Op, name="test_doubled"):
    """2 x, by an algorithm that is thought fast and is slow, and one that is thought slow and is fast."""

    def infer(self, x: Spec) -> Spec:
        return x


class Calls:
    """How often each algorithm ran."""

    def __init__(self) -> None:
        self.slow = self.fast = 0


@pytest.fixture
def calls(monkeypatch) -> Iterator[Calls]:
    """The kernels of Doubled, which count; they are gone when the test ends."""
    counted = Calls()

    @kernel(Doubled, "cpu", algorithm="slow", when=lambda *_: True, cost=lambda *_: 1e-6)
    def slow(op: Doubled, out: Array, x: Array) -> None:
        counted.slow += 1
        time.sleep(SLEEP)
        np.multiply(x, 2, out=out)

    @kernel(Doubled, "cpu", algorithm="fast", cost=lambda *_: 1e-3)
    def fast(op: Doubled, out: Array, x: Array) -> None:
        counted.fast += 1
        np.add(x, x, out=out)

    yield counted
    for key in [key for key in registry._KERNELS if key[0] is Doubled]:
        registry._KERNELS.pop(key)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of the test's own for measured times."""
    monkeypatch.setattr(autotune, "tuning_folder", lambda: tmp_path / "tuning")
    monkeypatch.delenv(autotune.AUTOTUNE, raising=False)
    return tmp_path / "tuning"


def graph(size: int = 5) -> Graph:
    g = Builder("net")
    return g.build(g.add(Doubled(), g.input("x", Spec((size,))), name="y"))


def algorithm(session: Session) -> str:
    return session.plan.steps[0].algorithm


def kept(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_the_cost_model_chooses_where_nothing_is_measured(calls, folder):
    """Without autotune no kernel runs at binding, nothing is written, and the plan says what was estimated."""
    session = Session(graph(), Workspace())

    assert algorithm(session) == "slow"
    assert (calls.slow, calls.fast) == (0, 0)
    assert not folder.exists()
    assert "(0.001 ms estimated; fast 1)" in str(session.plan)


def test_the_measured_fastest_is_taken_and_the_plan_says_so(calls, folder):
    """The cost model is wrong by far; the measurement finds out, and the results are the algorithm's."""
    session = Session(graph(), Workspace(), autotune=True)
    step = session.plan.steps[0]

    assert step.algorithm == "fast"
    assert step.choice.measured
    assert step.milliseconds["slow"] >= 1e3 * SLEEP > step.milliseconds["fast"]
    assert " ms measured; slow 2" in step.reason
    np.testing.assert_array_equal(session.run({"x": np.arange(5, dtype=np.float32)})["y"], [0, 2, 4, 6, 8])


def test_a_second_binding_measures_nothing(calls, folder):
    """The times are on disk: another Session makes the same choice without running a kernel."""
    Session(graph(), Workspace(), autotune=True)
    calls.slow = calls.fast = 0

    session = Session(graph(), Workspace(), autotune=True)

    assert algorithm(session) == "fast"
    assert (calls.slow, calls.fast) == (0, 0)


def test_other_shapes_are_measured_by_themselves(calls, folder):
    """The file grows by a node; equal nodes of one graph are measured once."""
    Session(graph(5), Workspace(), autotune=True)
    calls.slow = calls.fast = 0
    g = Builder("net")
    twice = g.build(g.add(Doubled(), g.add(Doubled(), g.input("x", Spec((6,)))), name="y"))

    Session(twice, Workspace(), autotune=True)
    measured = calls.slow

    assert measured > 0
    assert len(json.loads(kept(folder).read_text("utf-8"))["milliseconds"]) == 2
    Session(graph(6), Workspace(), autotune=True)
    assert calls.slow == measured


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe", b"[]", b"{}", b"null", b'{"format": 1}', b"[" * 100_000,
        b'{"format": 1, "machine": {}, "milliseconds": {}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_made_anew(content, calls, folder):
    """Whatever the bytes are, the nodes are measured again and the file is whole afterwards."""
    Session(graph(), Workspace(), autotune=True)
    kept(folder).write_bytes(content)
    calls.slow = 0

    session = Session(graph(), Workspace(), autotune=True)

    assert algorithm(session) == "fast"
    assert calls.slow > 0
    assert len(json.loads(kept(folder).read_text("utf-8"))["milliseconds"]) == 1


@pytest.mark.parametrize("times", [None, 3, [], {"slow": 1}, {"slow": "1", "fast": 2}, {"slow": -1, "fast": 2}])
def test_damaged_times_are_measured_anew(times, calls, folder):
    """An entry that is not a time of each algorithm counts as none."""
    Session(graph(), Workspace(), autotune=True)
    content = json.loads(kept(folder).read_text("utf-8"))
    content["milliseconds"] = dict.fromkeys(content["milliseconds"], times)
    kept(folder).write_text(json.dumps(content), encoding="utf-8")
    calls.slow = 0

    assert algorithm(Session(graph(), Workspace(), autotune=True)) == "fast"
    assert calls.slow > 0


def test_noise_does_not_overrule_the_cost_model(calls, folder):
    """An algorithm that was measured 2 % faster is not worth another rounding; one that was 10 % faster is."""
    Session(graph(), Workspace(), autotune=True)
    content = json.loads(kept(folder).read_text("utf-8"))
    chosen = {}
    for gain in (0.02, 0.1):
        content["milliseconds"] = {key: {"slow": 1.0, "fast": 1 - gain} for key in content["milliseconds"]}
        kept(folder).write_text(json.dumps(content), encoding="utf-8")

        chosen[gain] = algorithm(Session(graph(), Workspace(), autotune=True))

    assert chosen == {0.02: "slow", 0.1: "fast"}


def test_what_another_process_wrote_meanwhile_stays(calls, folder):
    """Both processes' nodes are in the file, and of a node that both measured the first one's times."""
    first, second = autotune.Autotuner("cpu"), autotune.Autotuner("cpu")
    candidates = registry.applicable_kernels(Doubled(), "cpu", [Spec((5,))])
    for tuner, sizes in ((first, (5, 6)), (second, (5, 7))):
        for size in sizes:
            tuner.measure(candidates, Doubled(), [Spec((size,))])
    first.save()
    before = json.loads(kept(folder).read_text("utf-8"))["milliseconds"]

    second.save()

    after = json.loads(kept(folder).read_text("utf-8"))["milliseconds"]
    assert before.items() <= after.items()
    assert len(after) == 3
    choice = second.choose(candidates, Doubled(), [Spec((5,))])
    assert {c.algorithm: round(1e3 * s, 6) for c, s in choice.candidates} in list(before.values())


def test_many_at_once_leave_a_whole_file(calls, folder):
    """Eight threads bind different graphs; the file can be read at any time and is whole at the end."""
    threads = [
        threading.Thread(target=lambda size=size: Session(graph(size), Workspace(), autotune=True))
        for size in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    content = json.loads(kept(folder).read_text("utf-8"))

    assert 1 <= len(content["milliseconds"]) <= 8
    assert all(set(times) == {"slow", "fast"} for times in content["milliseconds"].values())


def test_a_folder_that_cannot_be_written_costs_only_the_memory(calls, tmp_path, monkeypatch):
    """A file is where the folder should be: the choice is made all the same."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(autotune, "tuning_folder", lambda: tmp_path / "file")

    assert algorithm(Session(graph(), Workspace(), autotune=True)) == "fast"


def test_the_environment_decides_where_the_caller_does_not(calls, folder, monkeypatch):
    """EDGE_AUTOTUNE=1 measures, an argument overrules it, and anything else is refused."""
    monkeypatch.setenv(autotune.AUTOTUNE, "1")
    by_environment = algorithm(Session(graph(), Workspace()))
    overruled = algorithm(Session(graph(), Workspace(), autotune=False))
    monkeypatch.setenv(autotune.AUTOTUNE, "yes")

    assert (by_environment, overruled) == ("fast", "slow")
    with pytest.raises(UsageError, match="EDGE_AUTOTUNE is 0 or 1, not 'yes'"):
        Session(graph(), Workspace())


def test_a_model_and_its_training_are_tuned(folder):
    """The argument arrives at the Sessions of a Model, of its copies and of its training step."""
    from tiny_models import SIDE, tiny_model

    model = tiny_model().replace(autotune=True)
    model.run(np.zeros((2, SIDE, SIDE, 3), np.float32))
    measured = [step for step in model._session(2).plan.steps if len(step.choice.candidates) > 1]
    training = training_session(model, 2).plan.steps

    assert measured
    assert all(step.choice.measured for step in measured)
    assert any(step.choice.measured for step in training)
    assert not any(step.choice.measured for step in training_session(model, 2, autotune=False).plan.steps)


def test_reference_kernels_have_nothing_to_measure(folder):
    """There is one kernel an operator, so nothing is run or written."""
    from tiny_models import tiny_model

    model = tiny_model()

    session = Session(model.graph, model.workspace, "reference", batch=1, autotune=True)

    assert not any(step.choice.measured for step in session.plan.steps)
    assert not folder.exists()
    assert all(step.reason == "" for step in session.plan.steps)


def test_fine_tuning_is_tuned(folder, tmp_path):
    """`fit` hands the argument to its Session: times are on disk afterwards, and the model remembers."""
    from tiny_models import tiny_model, write_photos

    import edge_sdk as edge

    photos = write_photos(tmp_path / "photos", 4)

    run = edge.fit(tiny_model(), photos, epochs=1, batch_size=4, autotune=True)

    assert run.model.autotune
    measured = json.loads(kept(folder).read_text("utf-8"))["milliseconds"]
    assert any(key.startswith("conv2d_grad_") for key in measured)
