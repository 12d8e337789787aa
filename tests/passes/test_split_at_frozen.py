"""split_at_frozen: features that are computed once, and the rest that trains on them."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret, programs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.ops.activation import Relu, Tanh
from edge_sdk.ops.control import Full
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.passes.freeze import split_at_frozen
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace


def kinds(graph):
    """The operators' names, in order."""
    return [node.op.name for node in graph.nodes]


def chain(features):
    """Compute the rest on the features: all outputs by name."""
    (first, arrays1), (rest, arrays2), feeds = features
    values = interpret(first.bind(2), arrays1, feeds)
    return interpret(rest.bind(2), arrays2, values | feeds)


@given(pair=programs(most=8), data=st.data())
@settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_both_halves_compute_what_the_whole_does(pair, data):
    """Wherever the cut falls: features, fed to the rest, give the very same outputs."""
    graph, workspace = pair
    assume(graph.params)
    trains = data.draw(st.sampled_from(graph.params))
    text, digest = str(graph), workspace.digest()
    try:
        first, rest = split_at_frozen(graph, workspace, frozen=set(graph.params) - {trains})
    except GraphError as error:
        if "cut off" in str(error):  # nothing, or everything, is frozen
            return
        raise

    feeds = feeds_for(graph)
    values = chain((first, rest, feeds))

    wanted = interpret(graph.bind(2), workspace, feeds)
    assert rest[0].outputs == graph.outputs
    for value in graph.outputs:
        np.testing.assert_array_equal(values[value], wanted[value])
    assert trains not in first[0].params
    assert (str(graph), workspace.digest()) == (text, digest)


def test_the_backbone_is_cut_off_at_the_head():
    """All nodes but the head's are in the first half, and each half has its own weights alone."""
    model = tiny_model()

    first, rest = split_at_frozen(
        model.graph, model.workspace, frozen=[v for v in model.graph.params if not v.startswith("head.")]
    )

    assert kinds(rest[0]) == ["linear"]
    assert len(first[0].nodes) == len(model.graph.nodes) - 1
    assert rest[0].inputs == first[0].outputs
    assert set(rest[1]) == {"head.weight", "head.bias"}
    assert set(first[1]) == set(model.workspace) - set(rest[1])


def test_the_rest_takes_the_inputs_that_it_reads_itself():
    """An input that skips the frozen part is fed to both halves."""
    g = Builder("net")
    x = g.input("x", Spec((BATCH, 3)))
    y = g.add(Linear(), g.add(Tanh(), x, name="features"), g.param("w", Spec((3, 3))))
    graph = g.build(g.add(Add(), y, x))

    first, rest = split_at_frozen(graph, Workspace({"w": np.zeros((3, 3), np.float32)}), frozen=())

    assert first[0].outputs == ("features",)
    assert rest[0].inputs == ("features", "x")


def test_an_output_within_the_frozen_part_is_passed_on():
    """Nobody reads it but the user, who still gets it."""
    g = Builder("net")
    hidden = g.add(Tanh(), g.input("x", Spec((BATCH, 3))), name="hidden")
    seen = g.add(Relu(), hidden, name="seen")
    graph = g.build(g.add(Linear(), hidden, g.param("w", Spec((3, 3))), name="y"), seen)

    first, rest = split_at_frozen(graph, Workspace({"w": np.zeros((3, 3), np.float32)}), frozen=())

    assert first[0].outputs == ("hidden", "seen")
    assert rest[0].outputs == ("y", "seen")


def test_updates_stay_in_the_rest():
    """A counter that depends on nothing trainable still counts where the steps are taken."""
    g = Builder("net")
    x = g.add(Tanh(), g.input("x", Spec((BATCH, 3))))
    step, one = g.param("step", Spec(())), g.param("one", Spec(()))
    g.update(step, g.add(Add(), step, one, name="counted"))
    graph = g.build(g.add(Linear(), x, g.param("w", Spec((3, 3)))))
    arrays = {"w": np.zeros((3, 3), np.float32), "step": np.float32(0), "one": np.float32(1)}

    first, rest = split_at_frozen(graph, Workspace({k: np.asarray(v) for k, v in arrays.items()}), frozen=["step"])

    assert not first[0].updates
    assert dict(rest[0].updates) == {"step": "counted"}


def test_what_no_input_decides_is_no_feature():
    """A constant that both halves read is computed in both: it has no row for each photo."""
    g = Builder("net")
    one = g.add(Full(shape=(3,), value=1.0), name="one")
    hidden = g.add(Add(), g.input("x", Spec((BATCH, 3))), one, name="hidden")
    y = g.add(Linear(), hidden, g.param("w", Spec((3, 3))))
    graph = g.build(g.add(Add(), y, one))

    first, rest = split_at_frozen(graph, Workspace({"w": np.zeros((3, 3), np.float32)}), frozen=())

    assert first[0].outputs == rest[0].inputs == ("hidden",)
    assert kinds(first[0]) == ["full", "add"]
    assert kinds(rest[0]) == ["full", "linear", "add"]


@pytest.mark.parametrize(("frozen", "what"), [(["w", "v"], "everything"), ([], "nothing")])
def test_nothing_to_cut_is_said(frozen, what):
    """Both halves must have something to do."""
    g = Builder("net")
    x = g.add(Linear(), g.input("x", Spec((BATCH, 3))), g.param("w", Spec((3, 3))))
    graph = g.build(g.add(Linear(), x, g.param("v", Spec((3, 3)))))
    arrays = Workspace({name: np.zeros((3, 3), np.float32) for name in ("w", "v")})

    with pytest.raises(GraphError, match=f"cut off {what}"):
        split_at_frozen(graph, arrays, frozen=frozen)
