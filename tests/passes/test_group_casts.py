"""Weights that a step reads in 16 bits are rounded by one operator; nothing else about the step changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Graph
from edge_sdk.ops.elementwise import Mul
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Cast, GroupedCast
from edge_sdk.passes import pipelines
from edge_sdk.passes.group_casts import group_casts
from edge_sdk.session import Session
from edge_sdk.spec import HALVES, Spec
from edge_sdk.training.optimizers import Adam
from edge_sdk.training.step import TrainingStep, training_forward
from edge_sdk.workspace import Workspace

both = pytest.mark.parametrize("dtype", sorted(HALVES))


def step_in(dtype: str) -> TrainingStep:
    """A training step that stores activations in 16 bits."""
    return dataclasses.replace(training_forward(tiny_model()), activations=dtype).step(Adam(), learning_rate=0.05)


def without_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps have a cast a weight."""
    passes = tuple(each for each in pipelines.PIPELINES["step"] if each is not group_casts)
    monkeypatch.setattr(pipelines, "PIPELINES", {**pipelines.PIPELINES, "step": passes})


def casts_of_parameters(graph: Graph) -> list[str]:
    """The operators that make 16 bits of parameters."""
    return [
        node.op.name
        for node in graph.nodes
        if isinstance(node.op, Cast | GroupedCast) and set(node.inputs) <= set(graph.params)
    ]


@both
def test_a_step_rounds_all_weights_by_one_operator(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what the casts took, each to its own result; without the pass there is a cast a weight."""
    grouped = step_in(dtype).graph
    without_the_pass(monkeypatch)
    single = step_in(dtype).graph

    (node,) = [node for node in grouped.nodes if isinstance(node.op, GroupedCast)]

    assert casts_of_parameters(grouped) == ["grouped_cast"]
    assert casts_of_parameters(single) == ["cast"] * 5
    pairs = [(n.inputs[0], n.output) for n in single.nodes if isinstance(n.op, Cast) and n.inputs[0] in single.params]
    assert list(zip(node.inputs, node.outputs, strict=True)) == pairs
    assert node.op == GroupedCast(dtype)
    assert grouped.updates == single.updates


@both
def test_steps_have_the_bytes_that_they_had(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The naive kernels: after three steps losses, weights, moments and statistics are those of separate casts."""
    feeds = {
        "image": np.random.default_rng(3).standard_normal((4, SIDE, SIDE, 3), np.float32),
        "label": np.array([0, 1, 2, 1], np.int32),
    }
    found = []
    for is_grouped in (True, False):
        if not is_grouped:
            without_the_pass(monkeypatch)
        step = step_in(dtype)
        session = Session(step.graph, step.workspace, "reference", 4)
        losses = [session.run(feeds)["loss"].tobytes() for _ in range(3)]
        found.append((losses, {name: array.tobytes() for name, array in step.workspace.items()}))

    assert found[0] == found[1]


def test_gradients_through_it_are_those_of_casts() -> None:
    """An array that reaches the loss, one that does not, one in whole numbers; the same numbers as by single casts."""
    gradients = []
    for is_grouped in (True, False):
        g = Builder("loss")
        xs = [g.input(name, Spec((3,), dtype)) for name, dtype in (("a", "float32"), ("b", "float32"), ("c", "int32"))]
        if is_grouped:
            narrow = g.add_multi(GroupedCast("float16"), *xs)
        else:
            narrow = tuple(g.add(Cast("float16"), x) for x in xs)
        loss = g.add(ReduceSum(axes=(0,)), g.add(Mul(), narrow[0], g.add(Mul(), narrow[0], narrow[2])))
        (slope,) = gradient(g, loss, [xs[0]])
        feeds = {"a": np.array([0.1, 2.0, -3.3], np.float32), "b": np.zeros(3, np.float32), "c": np.arange(3, 6)}
        feeds["c"] = feeds["c"].astype(np.int32)
        graph = g.build(slope)
        gradients.append(Session(graph, Workspace(), "reference").run(feeds)[slope])

    assert gradients[0].dtype == np.float32
    assert gradients[0].tobytes() == gradients[1].tobytes()
    np.testing.assert_allclose(gradients[0], 2 * np.array([0.1, 2.0, -3.3]) * np.arange(3, 6), rtol=2e-3)


def test_one_cast_stays_as_it_is() -> None:
    """A group of one would gain nothing; casts of what is computed, or to other types, are left alone."""
    g = Builder("few")
    w, v = g.param("w", Spec((2,))), g.param("v", Spec((2,)))
    outputs = [g.add(Cast("float16"), w), g.add(Cast("int32"), v), g.add(Cast("float16"), g.add(Mul(), w, v))]
    graph = g.build(*outputs)

    grouped, _ = group_casts(graph, Workspace({"w": np.ones(2, np.float32), "v": np.ones(2, np.float32)}))

    assert grouped == graph


def test_nothing_to_cast_is_refused() -> None:
    """The operator needs an array, and a type that there is."""
    with pytest.raises(ShapeError, match="grouped_cast: no arrays given"):
        GroupedCast("float16").infer()
    with pytest.raises(ShapeError, match="dtype 'float8' is not one of"):
        GroupedCast("float8").infer(Spec((2,)))
