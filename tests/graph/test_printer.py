"""Graphs as text and as Graphviz DOT."""

from __future__ import annotations

import dataclasses
import re

import pytest
from graph.random_graphs import programs
from hypothesis import given, settings

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import LeakyRelu, Relu
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.shape import Split
from edge_sdk.ops.update import GroupedSGDUpdate
from edge_sdk.printer import dot, program
from edge_sdk.spec import BATCH, Spec

STATEMENT = re.compile(r"  (?:\S+: \w+\[[n\d,]*\](?:, )?)+ = \w+\([^()]*\)(?: \{.*\})?")
QUOTED = r'"(?:[^"\\]|\\.)*"'
DOT_LINE = re.compile(
    rf"  (?:rankdir=TB; node \[shape=box, fontname=Helvetica\];"
    rf"|(?P<node>n\d+|{QUOTED}) \[(?:shape=\w+)?(?:, )?(?:label={QUOTED})?\];"
    rf"|(?P<from>n\d+|{QUOTED}) -> (?P<to>n\d+|{QUOTED})(?: \[label={QUOTED}\])?;)"
)


@pytest.fixture
def graph():
    """A little of everything: attributes, several outputs, an update."""
    g = Builder("net")
    x, w = g.input("image", Spec((BATCH, 8, 8, 3))), g.param("w", Spec((4, 3, 3, 3)))
    y = g.add(Conv2D((2, 2), "same"), x, w, name="y")
    left, right = g.add_multi(Split(3, (1, 3)), y, name="part")
    g.update(w, g.add(Add(), w, w, name="w2"))
    return g.build(g.add(LeakyRelu(0.125), left, name="z"), right)


def test_a_program_reads_as_expected(graph):
    """Signature, parameters, a line a node with the attributes that differ from their default, updates."""
    assert str(graph) == (
        "graph net(image: f32[n,8,8,3]) -> (z, part.1) {\n"
        "  param w: f32[4,3,3,3]\n"
        "  y: f32[n,4,4,4] = conv2d(image, w) {stride=[2, 2], padding=same}\n"
        "  part: f32[n,4,4,1], part.1: f32[n,4,4,3] = split(y) {axis=3, sizes=[1, 3]}\n"
        "  w2: f32[4,3,3,3] = add(w, w)\n"
        "  z: f32[n,4,4,1] = leaky_relu(part) {slope=0.125}\n"
        "  update w <- w2\n"
        "}"
    )


def test_an_operator_with_members_has_a_line_for_each():
    """What they share stands first, then each with its own inputs and outputs: no line grows with their number."""
    g = Builder("step")
    rate, w, v = g.param("rate", Spec(())), g.param("w", Spec((4,))), g.param("v", Spec((4,)))
    more = [g.input(name, Spec((2, 3))) for name in ("w2", "g2", "v2")]
    g.add_multi(GroupedSGDUpdate(momentum=0.5), rate, w, g.input("g", Spec((4,))), v, *more, name="new")
    graph = g.build("new")

    lines = program(graph).splitlines()

    assert lines[4:-1] == [
        "  grouped_sgd_update(rate, ...) {momentum=0.5}",
        "    new: f32[4], new.1: f32[4] = ...(w, g, v)",
        "    new.2: f32[2,3], new.3: f32[2,3] = ...(w2, g2, v2)",
    ]
    assert len(edges(dot(graph))) == 8


def test_the_docstring_shows_a_real_program():
    """What `program` promises is what it prints."""
    g = Builder("two_layers")
    x, weight = g.input("x", Spec((BATCH, 4))), g.param("weight", Spec((3, 4)))
    graph = g.build(g.add(Linear(), x, weight, name="y"))

    shown = [line.strip() for line in (program.__doc__ or "").splitlines()]

    assert all(line.strip() in shown for line in program(graph).splitlines())


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(pair=programs(updates=True))
def test_every_program_has_a_line_for_everything(pair):
    """One line each: signature, parameters, nodes, updates, closing brace; names are found in it."""
    graph, _ = pair

    lines = program(graph).splitlines()

    params, nodes, updates = len(graph.params), len(graph.nodes), len(graph.updates)
    assert len(lines) == 2 + params + nodes + updates
    for node, line in zip(graph.nodes, lines[1 + params :], strict=False):
        assert STATEMENT.fullmatch(line)
        assert f"{node.op.name}({', '.join(node.inputs)})" in line


def edges(text: str) -> list[tuple[str, str]]:
    """Parse DOT by the grammar above; every end of an edge must have been declared."""
    first, *body, last = text.splitlines()
    assert re.fullmatch(rf"digraph {QUOTED} {{", first)
    assert last == "}"
    declared: set[str] = set()
    found = []
    for line in body:
        match = DOT_LINE.fullmatch(line)
        assert match, line
        if match["node"]:
            assert match["node"] not in declared, "a box is drawn twice"
            declared.add(match["node"])
        if match["from"]:
            found.append((match["from"], match["to"]))
    assert {end for edge in found for end in edge} <= declared
    return found


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(pair=programs(updates=True))
def test_dot_is_well_formed(pair):
    """As many edges as nodes have inputs, and one to each output."""
    graph, _ = pair

    assert len(edges(dot(graph))) == sum(len(node.inputs) for node in graph.nodes) + len(graph.outputs)


def test_dot_shows_who_feeds_whom(graph):
    """Edges go from the producer, for each of its outputs."""
    assert edges(dot(graph)) == [
        ('"image"', "n0"),
        ('"w"', "n0"),
        ("n0", "n1"),
        ('"w"', "n2"),
        ('"w"', "n2"),
        ("n1", "n3"),
        ("n3", '"output z"'),
        ("n1", '"output part.1"'),
    ]


def test_dot_quotes_what_it_must():
    """A graph's name is free text."""
    g = Builder('a "name" with \\')
    graph = g.build(g.add(Relu(), g.input("x", Spec((1,)))))

    assert dot(graph).startswith('digraph "a \\"name\\" with \\\\" {')
    assert edges(dot(graph))


def test_an_unused_parameter_is_not_drawn(graph):
    """It would float beside the graph."""
    specs = {**graph.specs, "unused": Spec((1,))}
    wider = Graph("net", graph.inputs, (*graph.params, "unused"), graph.nodes, graph.outputs, specs, graph.updates)

    assert dot(wider) == dot(graph)


def test_a_name_cannot_speak_to_the_terminal(graph):
    """Names of graphs come out of files: colours, bells and new lines are written out."""
    hostile = dataclasses.replace(graph, name="net\x1b[31m\n\x07")

    text, drawn = program(hostile), dot(hostile)

    assert text.startswith(r"graph net\x1b[31m\n\x07(")
    assert drawn.startswith(r'digraph "net\\x1b[31m\\n\\x07" {')
    assert all(line.isprintable() for line in (*text.split("\n"), *drawn.split("\n")))
