"""dead_code and prune: drop what no output and no update needs."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.spec import Value
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace


def dead_code(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph without unused nodes and parameters; inputs stay, since users feed them by name."""
    needed: set[Value] = {*graph.outputs, *graph.updates, *graph.updates.values()}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    nodes = tuple(reversed(kept))
    params = tuple(value for value in graph.params if value in needed)
    known = {*graph.inputs, *params, *(value for node in nodes for value in node.outputs)}
    specs = {value: spec for value, spec in graph.specs.items() if value in known}
    result = dataclasses.replace(graph, params=params, nodes=nodes, specs=specs)
    verify(result)
    return result, workspace.restricted(result)


def prune(graph: Graph, workspace: Workspace, *, outputs: tuple[str, ...]) -> tuple[Graph, Workspace]:
    """Return the part of the graph that computes the values called `outputs`, and nothing else.

    Updates are dropped. Raises GraphError with a suggestion for a name that is no value.
    """
    chosen = tuple(graph.value(name) for name in outputs)
    return dead_code(dataclasses.replace(graph, outputs=chosen, updates={}), workspace)
