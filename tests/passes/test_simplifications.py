"""common_subexpressions, constant_folding, dead_code and prune: less to compute, the same results."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import interpret

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.ops.activation import LeakyRelu, Relu, Tanh
from edge_sdk.ops.control import Full, FullLike
from edge_sdk.ops.elementwise import Add, Div, Mul, Sub
from edge_sdk.ops.shape import Split
from edge_sdk.passes import constant_folding as folding
from edge_sdk.passes.common_subexpressions import common_subexpressions
from edge_sdk.passes.constant_folding import constant_folding
from edge_sdk.passes.dead_code import dead_code, prune
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace

X = {"x": np.array([[-2.0, 3.0]])}


@pytest.fixture
def g():
    """A builder with an input x (n, 2)."""
    g = Builder("net")
    g.input("x", Spec((BATCH, 2), "float64"))
    return g


def kinds(graph):
    """The operators' names, in order."""
    return [node.op.name for node in graph.nodes]


def test_equal_expressions_become_one_all_the_way_down(g):
    """Merging two nodes makes their readers equal, which are merged too."""
    left, right = (g.add(Tanh(), g.add(Relu(), "x")) for _ in range(2))
    graph = g.build(g.add(Add(), left, right))

    after, _ = common_subexpressions(graph, Workspace())

    assert kinds(after) == ["relu", "tanh", "add"]
    assert len(set(after.nodes[-1].inputs)) == 1


def test_other_attributes_or_another_order_are_not_equal(g):
    """The difference a - b is not b - a, and a slope of 0.1 is not one of 0.2."""
    a, b = g.add(LeakyRelu(0.1), "x"), g.add(LeakyRelu(0.2), "x")
    graph = g.build(g.add(Mul(), g.add(Sub(), a, b), g.add(Sub(), b, a)))

    assert common_subexpressions(graph, Workspace())[0] == graph


def test_zeros_of_other_signs_are_not_equal(g):
    """They compare equal in Python, but 1 / 0 is not 1 / -0."""
    graph = g.build(*(g.add(Div(), "x", g.add(Full((), zero, "float64")), name="y") for zero in (0.0, -0.0)))

    assert common_subexpressions(graph, Workspace())[0] == graph


def test_all_outputs_of_equal_nodes_are_merged(g):
    """Operators of several outputs are one node too."""
    first, second = (g.add_multi(Split(1, (1, 1)), "x") for _ in range(2))
    graph = g.build(g.add(Sub(), first[0], second[1]))

    after, _ = common_subexpressions(graph, Workspace())

    assert kinds(after) == ["split", "sub"]
    assert interpret(after.bind(1), {}, X)[after.outputs[0]].tolist() == [[-5.0]]


def test_equal_outputs_keep_both_names(g):
    """Both public names are still there, with the same numbers."""
    names = [g.add(Relu(), "x", name=name) for name in ("first", "second")]

    after, _ = common_subexpressions(g.build(*names), Workspace())

    assert after.outputs == ("first", "second")
    values = interpret(after.bind(1), {}, X)
    assert values["first"].tolist() == values["second"].tolist() == [[0.0, 3.0]]


def test_a_merged_value_takes_the_public_name_of_its_twin(g):
    """Only the second of two equal values is an output; no copy is needed."""
    hidden, public = g.add(Relu(), "x", name="hidden"), g.add(Relu(), "x", name="public")
    graph = g.build(public, g.add(Tanh(), hidden, name="t"))

    after, _ = common_subexpressions(graph, Workspace())

    assert [(node.op.name, node.inputs, node.outputs) for node in after.nodes] == [
        ("relu", ("x",), ("public",)),
        ("tanh", ("public",), ("t",)),
    ]


def test_impure_operators_are_not_merged(g, monkeypatch):
    """An operator that says that equal inputs may give other outputs is run each time."""
    monkeypatch.setattr(Relu, "pure", False)
    graph = g.build(g.add(Sub(), g.add(Relu(), "x"), g.add(Relu(), "x")))

    assert common_subexpressions(graph, Workspace())[0] == graph


def test_merging_equal_updates_keeps_both(g):
    """Two parameters that take equal values still take them."""
    arrays = Workspace({"s": np.zeros(2), "t": np.zeros(2), "step": np.ones(2)})
    for name in arrays:
        g.param(name, Spec((2,), "float64"))
    for name in ("s", "t"):
        g.update(name, g.add(Relu(), "step", name=f"{name}:new"))

    after, _ = common_subexpressions(g.build(g.add(Add(), "x", "s")), arrays)

    assert kinds(after) == ["relu", "add"]
    assert after.updates == {"s": "s:new", "t": "s:new"}


def test_what_depends_on_parameters_alone_becomes_one(g):
    """(2 + 1) · 2 is computed now; what depends on x is not."""
    arrays = Workspace({"p": np.array([2.0, -1.0])})
    p = g.param("p", Spec((2,), "float64"))
    sum_ = g.add(Add(), p, g.add(Full((2,), 1.0, "float64")), name="sum")
    graph = g.build(g.add(Mul(), "x", g.add(Mul(), sum_, p, name="constant"), name="y"))

    after, folded = constant_folding(graph, arrays)

    assert kinds(after) == ["mul"]
    assert {name: array.tolist() for name, array in folded.items()} == {"constant": [6.0, 0.0]}
    assert list(arrays) == ["p"]


def test_several_outputs_are_folded_together(g):
    """Each output of a constant split becomes a parameter."""
    arrays = Workspace({"p": np.array([2.0, -1.0])})
    _, right = g.add_multi(Split(0, (1, 1)), g.param("p", Spec((2,), "float64")), name="parts")
    graph = g.build(g.add(Add(), "x", right))

    after, folded = constant_folding(graph, arrays)

    assert after.params == ("parts.1",)
    assert folded["parts.1"].tolist() == [-1.0]


def test_a_parameter_that_is_updated_is_no_constant(g):
    """Its value at export would be frozen in."""
    state, step = (g.param(name, Spec((2,), "float64")) for name in ("state", "step"))
    g.update(state, g.add(Add(), state, step))
    graph = g.build(g.add(Add(), "x", g.add(Relu(), state)))

    assert constant_folding(graph, Workspace({"state": np.ones(2), "step": np.ones(2)}))[0] == graph


def test_a_constant_output_is_still_computed(g):
    """Outputs are results of nodes, never parameters."""
    graph = g.build(g.add(Full((2,), 1.0), name="one"), g.add(Relu(), "x"))

    assert constant_folding(graph, Workspace())[0] == graph


def test_a_constant_of_open_batch_or_great_size_is_not_folded(g, monkeypatch):
    """Zeros like x depend on the batch; a large constant is cheaper to compute than to store."""
    monkeypatch.setattr(folding, "LARGEST_RESULT", 1)
    zeros = g.add(FullLike(value=0.0), "x")
    graph = g.build(g.add(Add(), zeros, g.add(Full((2,), 1.0, "float64"))))

    assert constant_folding(graph, Workspace())[0] == graph


def test_an_operator_without_reference_kernel_is_not_folded(g, monkeypatch):
    """A user's operator may have a kernel for one device only."""
    monkeypatch.setattr(folding, "find_kernel", lambda *_: None)
    graph = g.build(g.add(Add(), "x", g.add(Full((2,), 1.0, "float64"))))

    assert constant_folding(graph, Workspace())[0] == graph


def test_dead_nodes_and_parameters_go_and_inputs_stay(g):
    """Users feed inputs by name, used or not."""
    g.input("unused", Spec((3,), "float64"))
    dead = g.param("dead", Spec((2,), "float64"))
    g.add(Relu(), g.add(Add(), "x", dead))
    graph = g.build(g.add(Tanh(), "x"))

    after, arrays = dead_code(graph, Workspace({"dead": np.zeros(2), "other": np.zeros(1)}))

    assert kinds(after) == ["tanh"]
    assert (after.inputs, after.params, list(arrays)) == (("x", "unused"), (), [])
    assert set(after.specs) == {"x", "unused", *after.outputs}


def test_updates_are_needed(g):
    """What only an update reads is not dead."""
    state, step = (g.param(name, Spec((2,), "float64")) for name in ("state", "step"))
    g.update(state, g.add(Add(), state, step))
    graph = g.build(g.add(Tanh(), "x"))

    assert dead_code(graph, Workspace({"state": np.zeros(2), "step": np.zeros(2)}))[0] == graph


def test_a_node_stays_for_any_of_its_outputs(g):
    """One output of a split is enough, and the other keeps its name."""
    graph = g.build(g.add_multi(Split(1, (1, 1)), "x", name="parts")[1])

    assert dead_code(graph, Workspace())[0] == graph


def test_prune_keeps_what_computes_the_named_values(g):
    """An inner value becomes the output; updates and the rest go."""
    state, step = (g.param(name, Spec((2,), "float64")) for name in ("state", "step"))
    g.update(state, g.add(Add(), state, step))
    inner = g.add(Relu(), "x", name="inner")
    arrays = Workspace({"state": np.zeros(2), "step": np.zeros(2)})

    after, kept = prune(g.build(g.add(Tanh(), inner)), arrays, outputs=("inner",))

    assert (kinds(after), after.outputs, dict(after.updates), list(kept)) == (["relu"], ("inner",), {}, [])


def test_prune_of_an_unknown_value_suggests_one(g):
    """A typo is named, with what was probably meant."""
    graph = g.build(g.add(Relu(), "x", name="inner"))

    with pytest.raises(GraphError, match="no value 'iner'; did you mean 'inner'"):
        prune(graph, Workspace(), outputs=("iner",))
