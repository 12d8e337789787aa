"""Each way in which a graph can be malformed is found, and said with the names of what is wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.activation import Relu, Tanh
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.shape import Split
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, QuantParams, Spec
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace

X = Spec((BATCH, 4))
W = Spec((4,))
HIDDEN = Node(Relu(), ("x",), ("h",))
SUM = Node(Add(), ("h", "w"), ("y",))
NEXT = Node(Tanh(), ("w",), ("w2",))
GOOD = Graph("net", ("x",), ("w",), (HIDDEN, SUM, NEXT), ("y",), {"x": X, "w": W, "h": X, "y": X, "w2": W}, {"w": "w2"})


def changed(**fields):
    """The good graph with other fields."""
    return dataclasses.replace(GOOD, **fields)


def renamed(old, new):
    """The good graph with another name for a value."""

    def name(values):
        return tuple(new if value == old else value for value in values)

    nodes = tuple(Node(node.op, name(node.inputs), name(node.outputs)) for node in GOOD.nodes)
    specs = dict(zip(name(GOOD.specs), GOOD.specs.values(), strict=True))
    return Graph("net", name(GOOD.inputs), GOOD.params, nodes, name(GOOD.outputs), specs, GOOD.updates)


def outcome(graph):
    """What a run of a form of the good graph returns and leaves, from numbers by hand."""
    arrays = Workspace({"w": np.array([0, 0.5, 0.5, 0.5], np.float32)})
    results = Session(graph, arrays, "reference", batch=1).run({"x": np.array([[-1, 2, 0, 4]], np.float32)})
    return results, arrays


BAD = {
    "an input twice": (changed(inputs=("x", "x")), "value 'x' is assigned twice"),
    "an input that is a parameter": (changed(inputs=("x", "w")), "value 'w' is assigned twice"),
    "a node that assigns an input": (
        changed(nodes=(Node(Relu(), ("x",), ("x",)), *GOOD.nodes)),
        "value 'x' is assigned twice",
    ),
    "two nodes of one output": (changed(nodes=(HIDDEN, HIDDEN, SUM, NEXT)), "value 'h' is assigned twice"),
    "one output twice": (
        changed(
            nodes=(*GOOD.nodes, Node(Split(1, (2, 2)), ("x",), ("s", "s"))), specs={**GOOD.specs, "s": Spec((BATCH, 2))}
        ),
        "value 's' is assigned twice",
    ),
    "use before computation": (
        changed(nodes=(SUM, HIDDEN, NEXT)),
        "node add → y: input 'h' is used before it is computed",
    ),
    "use of itself": (
        changed(nodes=(Node(Add(), ("h", "w"), ("h",)), SUM, NEXT)),
        "node add → h: input 'h' is used before",
    ),
    "use of nothing": (changed(nodes=(HIDDEN, Node(Add(), ("h", "v"), ("y",)), NEXT)), "input 'v' is used before"),
    "too few inputs": (changed(nodes=(HIDDEN, Node(Add(), ("h",), ("y",)), NEXT)), "add takes 2 inputs"),
    "too many inputs": (changed(nodes=(Node(Relu(), ("x", "w"), ("h",)), SUM, NEXT)), "relu takes 1 inputs"),
    "too few outputs": (changed(nodes=(*GOOD.nodes, Node(Split(1, (2, 2)), ("x",), ("s",)))), "split has 2 outputs"),
    "no output": (changed(nodes=(*GOOD.nodes, Node(Relu(), ("x",), ()))), "relu has 1 outputs"),
    "inputs that do not fit": (changed(specs={**GOOD.specs, "w": Spec((3,)), "w2": Spec((3,))}), "cannot be broadcast"),
    "another shape than inferred": (
        changed(specs={**GOOD.specs, "h": Spec((BATCH, 5))}),
        r"'h' is recorded as f32\[n,5\], the operator makes f32\[n,4\]",
    ),
    "another dtype than inferred": (
        changed(specs={**GOOD.specs, "h": Spec((BATCH, 4), "float64")}),
        r"'h' is recorded as f64\[n,4\]",
    ),
    "an output without spec": (
        changed(specs={value: spec for value, spec in GOOD.specs.items() if value != "h"}),
        "'h' is recorded as None",
    ),
    "an input without spec": (
        changed(specs={value: spec for value, spec in GOOD.specs.items() if value != "x"}),
        "value 'x' has no spec",
    ),
    "an output of nowhere": (changed(outputs=("y", "z")), "output 'z' is never computed"),
    "an update of an input": (changed(updates={"x": "h"}), "update 'x' ← 'h' needs a parameter"),
    "an update of nothing": (changed(updates={"v": "h"}), "update 'v' ← 'h' needs a parameter"),
    "an update by an input": (changed(updates={"w": "x"}), "needs a parameter and a computed value"),
    "an update by itself": (changed(updates={"w": "w"}), "needs a parameter and a computed value"),
    "an update by nothing": (changed(updates={"w": "z"}), "needs a parameter and a computed value"),
    "an update of another shape": (
        changed(updates={"w": "h"}),
        r"update of 'w' \(f32\[4\]\) by 'h' \(f32\[n,4\]\)",
    ),
    "an empty name": (renamed("h", ""), "'' is not a name"),
    "a name with a space": (renamed("h", "a b"), "'a b' is not a name"),
    "a name with a line break": (renamed("h", "h\n"), "is not a name; use letters, digits"),
    "a name with a quote": (renamed("x", 'x"'), "is not a name"),
    "a name that starts with a dash": (renamed("h", "-h"), "'-h' is not a name"),
    "a name of another script": (renamed("h", "é"), "is not a name"),
    "a very long name": (renamed("h", "h" * 257), "is not a name"),
}


def test_the_good_graph_is_good():
    """Every row below differs from it in one thing."""
    verify(GOOD)

    results, arrays = outcome(GOOD)
    np.testing.assert_allclose(results["y"], [[0, 2.5, 0.5, 4.5]])
    np.testing.assert_allclose(arrays["w"], np.tanh([0, 0.5, 0.5, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("name", ["h.1", "blocks.0/conv:weight-2", "0", "_", "h" * 256])
def test_names_of_networks_are_names(name):
    """Digits, dots, slashes, colons and dashes occur in published networks."""
    graph = renamed("h", name)

    verify(graph)

    assert graph_from_json(graph_to_json(graph)) == graph
    np.testing.assert_array_equal(outcome(graph)[0]["y"], outcome(GOOD)[0]["y"])


@pytest.mark.parametrize(("graph", "message"), BAD.values(), ids=BAD)
def test_a_malformed_graph_is_found(graph, message):
    """The message says where and what."""
    with pytest.raises(GraphError, match=message):
        verify(graph)


def test_a_quantized_value_may_have_another_dtype():
    """Its operator computes on real numbers; they are stored as whole ones."""
    stored = Spec((BATCH, 4), "int8", QuantParams((0.5,), (0,)))
    specs = {value: spec for value, spec in GOOD.specs.items() if value != "y"}
    graph = changed(specs={**specs, "h": stored}, nodes=(HIDDEN, NEXT), outputs=("h",))

    verify(graph)

    assert graph_from_json(graph_to_json(graph)).specs["h"] == stored
    with pytest.raises(GraphError, match="'h' is recorded as"):
        verify(dataclasses.replace(graph, specs={**graph.specs, "h": dataclasses.replace(stored, quant=None)}))


def test_an_input_or_parameter_may_be_an_output():
    """There is nothing wrong with handing a value on."""
    graph = changed(outputs=("x", "w", "y"))

    verify(graph)

    results, _ = outcome(graph)
    np.testing.assert_array_equal(results["x"], [[-1, 2, 0, 4]])
    np.testing.assert_array_equal(results["w"], [0, 0.5, 0.5, 0.5])


def test_an_empty_graph_is_well_formed():
    """Nothing in, nothing out."""
    graph = Builder("empty").build()

    verify(graph)

    assert Session(graph, Workspace(), "reference").run({}) == {}
