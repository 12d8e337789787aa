"""fuse_residual: the sum at the end of a residual block becomes part of the batch norm before it."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.norm import BatchNormTraining
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace


def fuse_residual(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which a batch norm in training form does the addition (and activation) that alone reads it.

    Forward and backward then pass once over memory where normalisation, sum and activation did so one after the other.
    """
    moved: dict[int, Node] = {}  # by the place of the addition
    absorbed: set[int] = set()
    renamed: dict[Value, Value] = {}
    for node in graph.nodes:
        found = _batch_norm_before(graph, node)
        if found is None or id(found[0]) in absorbed:
            continue
        norm, op, residual = found
        moved[id(node)] = Node(op, (*norm.inputs, residual), norm.outputs)
        absorbed.add(id(norm))
        renamed[node.output] = norm.outputs[0]
    nodes = [moved.get(id(node), node) for node in graph.nodes if id(node) not in absorbed]
    return rebuild(graph, nodes, renamed), workspace.restricted(graph)


def _batch_norm_before(graph: Graph, node: Node) -> tuple[Node, BatchNormTraining, Value] | None:
    """The batch norm that may take an addition over, what it is with it, and the other term."""
    if not isinstance(node.op, Add) or len(set(node.inputs)) != 2:
        return None
    for value, other in (node.inputs, node.inputs[::-1]):
        norm = graph.producer(value)
        if norm is None or not isinstance(norm.op, BatchNormTraining) or norm.outputs[0] != value:
            continue
        plain = norm.op.activation is None and len(norm.inputs) == 5
        read_elsewhere = any(graph.consumers(saved) for saved in norm.outputs[1:])
        same_shape = graph.specs[value].shape == graph.specs[other].shape
        if plain and not read_elsewhere and same_shape and only_consumer(graph, value) is node:
            return norm, dataclasses.replace(norm.op, activation=node.op.activation), other
    return None
