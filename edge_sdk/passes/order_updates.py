"""order_updates: a parameter is updated as soon as its gradient is there, which then need not be kept."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.passes.rewrite import last_values
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace


def order_updates(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which nodes that compute nothing but updates stand as early as they may.

    That is behind whatever computes their inputs, and behind every other reader of a parameter that they replace: the
    gradient of a layer's input is made with the weights of before.
    """
    finals = last_values(graph)
    replaced = {new: state for state, new in graph.updates.items()}
    place = {value: index for index, node in enumerate(graph.nodes) for value in node.outputs}
    behind: dict[int, list[Node]] = {}  # by the index of the node that they follow, -1 for none
    moving: set[int] = set()
    for node in graph.nodes:
        if not finals.issuperset(node.outputs):
            continue
        before = [place.get(value, -1) for value in node.inputs]
        for value in node.outputs:
            readers = [reader for reader in graph.consumers(replaced[value]) if reader is not node]
            before += [place[reader.outputs[0]] for reader in readers]
        behind.setdefault(max(before, default=-1), []).append(node)
        moving.add(place[node.outputs[0]])
    nodes = list(behind.get(-1, ()))
    for index, node in enumerate(graph.nodes):
        if index not in moving:
            nodes.append(node)
        nodes += behind.get(index, ())
    ordered = dataclasses.replace(graph, nodes=tuple(nodes))
    verify(ordered)
    return ordered, workspace.restricted(graph)
