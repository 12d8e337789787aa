"""absorb_sums: the rewriting that fuse_addition and fuse_gradient_sum share, in which a node takes a sum over."""

from __future__ import annotations

from collections.abc import Callable

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.elementwise import Add
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

WithSum = Callable[[Node, Add], Op | None]
"""What a node, whose result only that sum reads, becomes with it: the other term is one more input. None: it cannot."""


def absorb_sums(graph: Graph, workspace: Workspace, with_sum: WithSum) -> tuple[Graph, Workspace]:
    """Return the graph in which nodes add the other term of a sum, of the same shape, to what they make.

    The node moves to the place of the sum, where both terms are known. Of two nodes the later one takes the sum: the
    result of the other has to lie in memory anyway.
    """
    place = {id(node): index for index, node in enumerate(graph.nodes)}
    moved: dict[int, Node] = {}  # by the place of the sum
    absorbed: set[int] = set()
    renamed: dict[Value, Value] = {}
    for node in graph.nodes:
        found = [c for c in _candidates(graph, node, with_sum) if id(c[0]) not in absorbed]
        if not found:
            continue
        maker, op, other = max(found, key=lambda candidate: place[id(candidate[0])])
        moved[id(node)] = Node(op, (*maker.inputs, other), maker.outputs)
        absorbed.add(id(maker))
        renamed[node.output] = maker.output
    nodes = [moved.get(id(node), node) for node in graph.nodes if id(node) not in absorbed]
    return rebuild(graph, nodes, renamed), workspace.restricted(graph)


def _candidates(graph: Graph, node: Node, with_sum: WithSum) -> list[tuple[Node, Op, Value]]:
    """The nodes that may take a sum over, what they are with it, and the other term."""
    if not isinstance(node.op, Add) or len(set(node.inputs)) != 2:
        return []
    found = []
    for value, other in (node.inputs, node.inputs[::-1]):
        maker = graph.producer(value)
        same_shape = graph.specs[value].shape == graph.specs[other].shape
        if maker is None or not same_shape or only_consumer(graph, value) is not node:
            continue
        op = with_sum(maker, node.op)
        if op is not None:
            found.append((maker, op, other))
    return found
