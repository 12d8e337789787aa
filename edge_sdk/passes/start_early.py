"""start_early: means over processes are begun as soon as their arrays are there, and travel while the rest computes."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.communication import StartMean
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace


def start_early(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which each `start_mean` stands right behind the last node that computes for it.

    They keep their order: every process must meet the others at the same ones.
    """
    place = {value: index for index, node in enumerate(graph.nodes) for value in node.outputs}
    behind: dict[int, list[Node]] = {}
    least = -1
    for node in graph.nodes:
        if isinstance(node.op, StartMean):
            least = max(least, *(place.get(value, -1) for value in node.inputs))
            behind.setdefault(least, []).append(node)
    nodes = list(behind.get(-1, ()))
    for index, node in enumerate(graph.nodes):
        if not isinstance(node.op, StartMean):
            nodes.append(node)
        nodes += behind.get(index, ())
    ordered = dataclasses.replace(graph, nodes=tuple(nodes))
    verify(ordered)
    return ordered, workspace
