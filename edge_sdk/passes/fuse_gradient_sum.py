"""fuse_gradient_sum: where the gradients of two paths meet, the convolution that makes one adds the other."""

from __future__ import annotations

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import Conv2DGradInput, Conv2DGradInputAdded
from edge_sdk.ops.elementwise import Add
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace


def fuse_gradient_sum(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which sums that alone read the input gradient of a convolution are part of it.

    That is how residual blocks end on the way back. A convolution that adds as it stores needs no pass over memory of
    its own for the sum. It moves to the place of that; of two convolutions the later one takes it.
    """
    place = {id(node): index for index, node in enumerate(graph.nodes)}
    moved: dict[int, Node] = {}  # by the place of the sum
    absorbed: set[int] = set()
    renamed: dict[Value, Value] = {}
    for node in graph.nodes:
        found = [c for c in _candidates(graph, node) if id(c[0]) not in absorbed]
        if not found:
            continue
        conv, other = max(found, key=lambda candidate: place[id(candidate[0])])
        moved[id(node)] = Node(Conv2DGradInputAdded(**conv.op.attributes()), (*conv.inputs, other), conv.outputs)
        absorbed.add(id(conv))
        renamed[node.output] = conv.output
    nodes = [moved.get(id(node), node) for node in graph.nodes if id(node) not in absorbed]
    return rebuild(graph, nodes, renamed), workspace.restricted(graph)


def _candidates(graph: Graph, node: Node) -> list[tuple[Node, Value]]:
    """The convolutions whose input gradient is one term of a sum, and the other term."""
    if node.op != Add() or len(set(node.inputs)) != 2:
        return []
    found = []
    for value, other in (node.inputs, node.inputs[::-1]):
        conv = graph.producer(value)
        alike = graph.specs[value] == graph.specs[other]
        if conv is not None and isinstance(conv.op, Conv2DGradInput) and alike and only_consumer(graph, value) is node:
            found.append((conv, other))
    return found
