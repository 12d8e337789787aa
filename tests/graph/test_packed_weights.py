"""Constant weights are brought into a kernel's own form once, and again whenever they change."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace

IMAGE = np.ones((1, 8, 8, 32), np.float32)


def convolution(updating=False):
    """Sums of 3×3 × 32 ones times the weight, all the same; `updating` adds 1 to the weights in each run."""
    g = Builder("packed")
    x, w = g.input("x", Spec(IMAGE.shape)), g.param("w", Spec((32, 3, 3, 32)))
    y = g.add(Conv2D(), x, w, name="y")
    if updating:
        one = g.param("one", Spec(()))
        g.update(w, g.add(Add(), w, one, name="next"))
    return g.build(y)


def weights(value):
    """A workspace with all weights the same."""
    return Workspace({"w": np.full((32, 3, 3, 32), value, np.float32), "one": np.ones((), np.float32)})


def sum_of(session):
    """What every output is, in units of the 288 ones summed."""
    y = session.run({"x": IMAGE})["y"]
    assert np.ptp(y) <= 1e-3 * abs(y.max())
    return round(float(y.mean()) / 288, 3)


@pytest.fixture
def packings(monkeypatch):
    """How often a kernel's packing has run."""
    from edge_sdk.kernel import Packing, load_device

    load_device("cpu")
    calls = []
    plain = Packing.__getattribute__

    def counted(self, name):
        found = plain(self, name)
        if name != "pack":
            return found
        return lambda *given: (calls.append(1), found(*given))[1]

    monkeypatch.setattr(Packing, "__getattribute__", counted)
    return calls


def test_constant_weights_are_packed_once(packings):
    """Three runs, one packing; they take no room in the arena."""
    session = Session(convolution(), weights(2).restricted(convolution()))

    assert [sum_of(session) for _ in range(3)] == [2, 2, 2]
    assert len(packings) == 1


def test_updated_weights_are_packed_in_each_run():
    """The form follows weights that the graph itself changes."""
    session = Session(convolution(updating=True), weights(1))

    assert [sum_of(session) for _ in range(3)] == [1, 2, 3]


def test_an_assigned_array_is_seen():
    """Another array, or the same one with other contents."""
    workspace = weights(1).restricted(convolution())
    session = Session(convolution(), workspace)
    assert sum_of(session) == 1

    workspace["w"] = np.full((32, 3, 3, 32), 5, np.float32)
    assert sum_of(session) == 5

    workspace["w"][...] = 7
    workspace["w"] = workspace["w"]
    assert sum_of(session) == 7


def test_updates_of_another_session_are_seen():
    """Evaluation between training steps, on the arrays that training writes."""
    workspace = weights(1)
    training, evaluation = Session(convolution(updating=True), workspace), Session(convolution(), workspace)
    assert sum_of(evaluation) == 1

    training.run({"x": IMAGE})
    training.run({"x": IMAGE})

    assert sum_of(evaluation) == 3


def test_updates_of_an_interrupted_run_are_seen(monkeypatch):
    """A run that ends in the middle may have written weights already."""
    workspace = weights(1)
    training, evaluation = Session(convolution(updating=True), workspace), Session(convolution(), workspace)
    assert sum_of(evaluation) == 1

    monkeypatch.setattr(training, "_apply", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        training.run({"x": IMAGE})

    assert sum_of(evaluation) == round(float(workspace["w"].mean()), 3)
