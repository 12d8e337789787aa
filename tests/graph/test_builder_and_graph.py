"""Builder and Graph: every name is assigned once, graphs never change, the open batch is bound late."""

from __future__ import annotations

import dataclasses

import pytest
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError, ShapeError
from edge_sdk.graph import Node
from edge_sdk.ops.activation import Relu, Tanh
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.shape import Split
from edge_sdk.spec import BATCH, QuantParams, Spec


@pytest.fixture
def g():
    """A builder with an input x (n, 4) and a parameter w (3, 4)."""
    g = Builder("net")
    g.input("x", Spec((BATCH, 4)))
    g.param("w", Spec((3, 4)))
    return g


def test_names_are_made_unique(g):
    """The second of a name gets a suffix, also where that name is taken."""
    g.add(Relu(), "x", name="y.1")

    names = [g.add(Relu(), "x", name="y") for _ in range(3)]

    assert names == ["y", "y.2", "y.3"]
    assert g.add(Relu(), "x") == "relu"


def test_outputs_of_one_node_are_numbered(g):
    """The first has the asked name."""
    parts = g.add_multi(Split(1, (1, 1, 2)), "x", name="part")

    assert parts == ("part", "part.1", "part.2")
    assert [g.spec(part).shape for part in parts] == [(BATCH, 1), (BATCH, 1), (BATCH, 2)]


@pytest.mark.parametrize("declare", ["input", "param"])
def test_a_name_that_users_see_must_be_free(g, declare):
    """Inputs and parameters are found by name; no suffix is added."""
    with pytest.raises(GraphError, match="'net' already has a value 'w'"):
        getattr(g, declare)("w", Spec(()))


def test_a_value_of_nowhere_is_refused(g):
    """A typo gets a suggestion."""
    g.add(Relu(), "x", name="hidden")

    with pytest.raises(GraphError, match="'hiden' is not a value of graph 'net'; did you mean 'hidden'"):
        g.add(Relu(), "hiden")


def test_inputs_that_do_not_fit_are_refused_at_once(g):
    """The mistake is found on the line that makes it, and nothing is added."""
    g.param("v", Spec((3, 5)))

    with pytest.raises(ShapeError, match=r"linear: x f32\[n,4\] and w f32\[3,5\] do not fit"):
        g.add(Linear(), "x", "v")

    assert not g.nodes


def test_add_is_for_one_output(g):
    """The message names the method for several."""
    with pytest.raises(GraphError, match="split has 2 outputs; use add_multi"):
        g.add(Split(1, (2, 2)), "x")


def test_an_output_that_does_not_exist_is_refused(g):
    """Building checks the program."""
    with pytest.raises(GraphError, match="output 'y' is never computed"):
        g.build("y")


def test_updates_fit_their_parameter(g):
    """Not a parameter, another shape, a second time: each is refused with the names."""
    new = g.add(Add(), "w", "w", name="new")

    with pytest.raises(GraphError, match="only a parameter can be updated; 'x' is none"):
        g.update("x", new)
    with pytest.raises(ShapeError, match=r"update of 'w': it is f32\[3,4\], the new value 'x' is f32\[n,4\]"):
        g.update("w", "x")
    g.update("w", new)
    with pytest.raises(GraphError, match="'w' is updated twice: by 'new' and 'new'"):
        g.update("w", new)
    assert dict(g.build(new).updates) == {"w": "new"}


def test_a_graph_does_not_change_with_its_builder(g):
    """What is built is built."""
    first = g.build(g.add(Relu(), "x"))
    text = str(first)

    g.update("w", g.add(Add(), "w", "w"))
    second = g.build(g.add(Tanh(), "x"))

    assert str(first) == text
    assert len(second.nodes) == 3


def test_a_graph_cannot_be_changed(g):
    """Neither its fields nor what they hold."""
    graph = g.build(g.add(Relu(), "x"))

    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.name = "other"
    with pytest.raises(TypeError):
        graph.specs["x"] = Spec(())
    with pytest.raises(TypeError):
        graph.updates["w"] = "relu"
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes[0].inputs = ()


def test_extending_continues_a_copy(g):
    """The new graph has the old program and more; the old one stays."""
    graph = g.build(g.add(Relu(), "x", name="y"))

    more = Builder.extend(graph, name="more")
    extended = more.build(more.add(Relu(), "y", name="y"))

    assert (extended.name, extended.outputs, len(extended.nodes)) == ("more", ("y.1",), 2)
    assert len(graph.nodes) == 1
    assert Builder.extend(graph).build("y") == graph


def test_producers_and_consumers(g):
    """A node that reads a value twice consumes it once; inputs have no producer."""
    y = g.add(Relu(), "x", name="y")
    g.add(Add(), y, y, name="twice")
    g.add(Tanh(), y, name="t")
    graph = g.build("t")

    assert graph.producer("y") is graph.nodes[0]
    assert graph.producer("x") is None
    assert graph.consumers("y") == graph.nodes[1:]
    assert graph.consumers("t") == ()


def test_a_nodes_inputs_have_the_operators_names(g):
    """An optional input that was left out is None."""
    g.add(Linear(), "x", "w", name="y")
    node = g.build("y").nodes[0]

    assert (node.input("x"), node.input("w"), node.input("b"), node.output) == ("x", "w", None, "y")


def test_the_only_output_of_several_is_a_mistake(g):
    """The message names them."""
    node = Node(Split(1, (2, 2)), ("x",), ("a", "b"))

    with pytest.raises(GraphError, match="split has 2 outputs: a, b"):
        _ = node.output


def test_values_are_found_by_name(g):
    """A typo gets a suggestion."""
    graph = g.build(g.add(Relu(), "x", name="logits"))

    assert graph.value("logits") == "logits"
    with pytest.raises(GraphError, match="no value 'logit'; did you mean 'logits'"):
        graph.value("logit")


@pytest.mark.parametrize("batch", [1, 7])
def test_binding_gives_every_value_its_batch(batch):
    """Shapes are inferred anew, down to the last node; names and nodes stay."""
    graph = tiny_model().graph

    bound = graph.bind(batch)

    assert not any(spec.symbolic for spec in bound.specs.values())
    assert bound.specs["image"].shape == (batch, 16, 16, 3)
    assert bound.specs["logits"].shape == (batch, 3)
    assert (bound.nodes, bound.params, bound.outputs) == (graph.nodes, graph.params, graph.outputs)
    assert graph.specs["logits"].symbolic


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_is_one_or_more(g, batch):
    """There is nothing to compute on no images."""
    with pytest.raises(GraphError, match="at least 1"):
        g.build(g.add(Relu(), "x")).bind(batch)


def test_binding_keeps_what_is_quantized():
    """The stored type of a quantized value is not its operator's."""
    g = Builder("net")
    x = g.input("x", Spec((BATCH, 2, 2, 1)))
    quant = QuantParams((0.5,), (3,))
    (y,) = g.append(GlobalAvgPool(), (x,), [Spec((BATCH, 1), "int8", quant)], name="y")

    assert g.build(y).bind(4).specs["y"] == Spec((4, 1), "int8", quant)


def test_graphs_are_compared_by_content(g):
    """The same statements make equal graphs; another attribute makes another."""

    def built(stride):
        g = Builder("net")
        image, weight = g.input("x", Spec((1, 4, 4, 1))), g.param("w", Spec((1, 1, 1, 1)))
        return g.build(g.add(Conv2D((stride, stride)), image, weight))

    assert built(1) == built(1)
    assert built(1) != built(2)


def test_repr_is_short():
    """A graph in a debugger or an assertion is not pages long."""
    assert repr(tiny_model().graph) == "<Graph tiny: 12 nodes, 17 parameters>"
