"""group_updates: parameters of one optimizer are updated by one operator, in one parallel loop."""

from __future__ import annotations

import math

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.update import GROUPED, GroupedUpdate
from edge_sdk.passes.rewrite import last_values, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

LARGEST = 64 << 10
"""Numbers of a parameter that is grouped: of a larger one the gradient is worth its memory, not the loop its start."""

SHARED = ("rate", "step", "factor")
"""Inputs of one parameter's update that are the same for all, in the order in which the grouped form takes them."""


def group_updates(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which updates by the same operator, with the same attributes, rate and step, are one node.

    The factor, where there is one, is the same too, and the gradients' type. The node stands where the last of them
    stood, so that the gradients live until then; those of large parameters would be most of that memory, and stay by
    themselves, unless they wait for the factor anyway, which is made of all gradients. Every weight and state may be
    overwritten as before.
    """
    last = last_values(graph)
    groups: dict[tuple[GroupedUpdate, str, tuple[Value, ...]], list[Node]] = {}
    for node in graph.nodes:
        form = GROUPED.get(type(node.op))
        if form is None or not last.issuperset(node.outputs):
            continue
        shared = {name: value for name, value in _inputs(node) if name in SHARED}
        if "factor" in shared or math.prod(graph.specs[node.inputs[0]].shape) <= LARGEST:
            op = form(**node.op.attributes(), factored="factor" in shared)
            stored = graph.specs[node.inputs[1]].dtype  # of the gradient
            key = (op, stored, tuple(shared[name] for name in SHARED if name in shared))
            groups.setdefault(key, []).append(node)
    changed: dict[Value, Node | None] = {}  # what takes the place of a node, by its first output; None for nothing
    for (grouped, _, shared_values), members in groups.items():
        if len(members) < 2:
            continue
        own = [value for node in members for name, value in _inputs(node) if name not in SHARED]
        results = tuple(value for node in members for value in node.outputs)
        changed.update({node.outputs[0]: None for node in members})
        changed[members[-1].outputs[0]] = Node(grouped, (*shared_values, *own), results)
    nodes = [changed.get(node.outputs[0], node) for node in graph.nodes]
    return rebuild(graph, [node for node in nodes if node is not None]), workspace.restricted(graph)


def _inputs(node: Node) -> list[tuple[str, Value]]:
    """A node's inputs by the names that its operator gives them."""
    return list(zip(node.op.input_names, node.inputs, strict=False))  # without the factor there is one less
