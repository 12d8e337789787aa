"""group_casts: the parameters that a step reads in 16 bits are rounded together, by one operator."""

from __future__ import annotations

from collections import defaultdict

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.shape import Cast, GroupedCast
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import HALVES, Value
from edge_sdk.workspace import Workspace


def group_casts(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which casts of parameters to a type of 16 bits are one node, where the first of them stood.

    Of a network's weights each would be a launch of its own, most of them too small to fill a device. They are rounded
    from parameters alone, which whatever updates them replaces later. The copies live from there on, as most of them
    would anyway while a step needs most memory: between the passes forward and backward, both of which read them.
    """
    groups: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in graph.nodes:
        if isinstance(node.op, Cast) and node.op.dtype in HALVES and node.inputs[0] in graph.params:
            groups[graph.specs[node.inputs[0]].dtype, node.op.dtype].append(node)
    changed: dict[Value, Node | None] = {}  # what takes the place of a node, by its output; None for nothing
    for (_, dtype), casts in groups.items():
        if len(casts) < 2:
            continue
        changed.update({node.output: None for node in casts})
        sources, results = tuple(node.inputs[0] for node in casts), tuple(node.output for node in casts)
        changed[results[0]] = Node(GroupedCast(dtype), sources, results)
    nodes = [changed.get(node.outputs[0], node) for node in graph.nodes]
    return rebuild(graph, [node for node in nodes if node is not None]), workspace.restricted(graph)
