"""fuse_addition: a sum becomes part of the convolution that computes one of its terms."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

WITH_BIAS = 3  # inputs of a convolution


def fuse_addition(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which convolutions add the other term of a sum, and apply its activation, as they store.

    The convolution moves to the place of the sum, where both terms are known. Of two convolutions the later one takes
    the sum: the result of the other has to lie in memory anyway.
    """
    place = {id(node): index for index, node in enumerate(graph.nodes)}
    moved: dict[int, Node] = {}  # by the place of the sum
    absorbed: set[int] = set()
    renamed: dict[Value, Value] = {}
    for node in graph.nodes:
        found = [c for c in _candidates(graph, node) if id(c[0]) not in absorbed]
        if not found:
            continue
        conv, op, residual = max(found, key=lambda candidate: place[id(candidate[0])])
        moved[id(node)] = Node(op, (*conv.inputs, residual), conv.outputs)
        absorbed.add(id(conv))
        renamed[node.output] = conv.output
    nodes = [moved.get(id(node), node) for node in graph.nodes if id(node) not in absorbed]
    return rebuild(graph, nodes, renamed), workspace.restricted(graph)


def _candidates(graph: Graph, node: Node) -> list[tuple[Node, Conv2D, Value]]:
    """The convolutions that may take a sum over, what they are with it, and the other term."""
    if not isinstance(node.op, Add) or len(set(node.inputs)) != 2:
        return []
    found = []
    for value, other in (node.inputs, node.inputs[::-1]):
        conv = graph.producer(value)
        if conv is None or not isinstance(conv.op, Conv2D) or len(conv.inputs) != WITH_BIAS:
            continue
        same_shape = graph.specs[value].shape == graph.specs[other].shape
        if conv.op.activation is None and same_shape and only_consumer(graph, value) is node:
            found.append((conv, dataclasses.replace(conv.op, activation=node.op.activation), other))
    return found
