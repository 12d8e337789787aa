"""A graph as text that reads like a program, and as Graphviz DOT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.spec import Value


def program(graph: Graph) -> str:
    """Return the graph as text: signature, parameters, one line a node and one a member of a node, updates.

    graph two_layers(x: f32[n,4]) -> (y) {
      param weight: f32[3,4]
      y: f32[n,3] = linear(x, weight)
    }
    """
    signature = ", ".join(f"{value}: {graph.specs[value]}" for value in graph.inputs)
    lines = [f"graph {_printable(graph.name)}({signature}) -> ({', '.join(graph.outputs)}) {{"]
    lines += [f"  param {value}: {graph.specs[value]}" for value in graph.params]
    lines += [f"  {line}" for node in graph.nodes for line in _statements(graph, node)]
    lines += [f"  update {state} <- {new}" for state, new in graph.updates.items()]
    return "\n".join([*lines, "}"])


def dot(graph: Graph) -> str:
    """Return the graph in Graphviz' DOT language: a box a node, an edge a value, labelled with its spec."""
    lines = [f"digraph {_quoted(_printable(graph.name))} {{", "  rankdir=TB; node [shape=box, fontname=Helvetica];"]
    for value in (*graph.inputs, *graph.params):
        shape = "ellipse" if value in graph.inputs else "note"
        if graph.consumers(value) or value in graph.outputs:
            lines.append(f"  {_quoted(value)} [shape={shape}, label={_quoted(f'{value}: {graph.specs[value]}')}];")
    sources: dict[Value, str] = {value: _quoted(value) for value in (*graph.inputs, *graph.params)}
    for index, node in enumerate(graph.nodes):
        lines.append(f"  n{index} [label={_quoted(node.op.name + _attributes(node.op))}];")
        lines += [
            f"  {sources[value]} -> n{index} [label={_quoted(str(graph.specs[value]))}];" for value in node.inputs
        ]
        sources.update(dict.fromkeys(node.outputs, f"n{index}"))
    for value in graph.outputs:
        lines.append(f"  {_quoted('output ' + value)} [shape=ellipse];")
        lines.append(f"  {sources[value]} -> {_quoted('output ' + value)};")
    return "\n".join([*lines, "}"])


def _statements(graph: Graph, node: Node) -> list[str]:
    """One line, or for an operator with members one of what they share, and one for each of them."""
    members = node.op.members
    if members is None:
        return [f"{_targets(graph, node.outputs)} = {node.op.name}({', '.join(node.inputs)}){_attributes(node.op)}"]
    lines = [f"{node.op.name}({', '.join(node.inputs[: members.shared])}, ...){_attributes(node.op)}"]
    for inputs, outputs in members.each(node.inputs, node.outputs):
        lines.append(f"  {_targets(graph, outputs)} = ...({', '.join(inputs)})")
    return lines


def _targets(graph: Graph, values: Sequence[Value]) -> str:
    return ", ".join(f"{value}: {graph.specs[value]}" for value in values)


def _attributes(op: Op) -> str:
    """The attributes that differ from their default."""
    shown = [
        f"{field.name}={_text(getattr(op, field.name))}"
        for field in dataclasses.fields(op)
        if field.default is dataclasses.MISSING or getattr(op, field.name) != field.default
    ]
    return f" {{{', '.join(shown)}}}" if shown else ""


def _text(value: object) -> str:
    if isinstance(value, Graph):
        return _printable(value.name)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _printable(name: str) -> str:
    """A graph's name, which may be a file's, without what a terminal would obey."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
