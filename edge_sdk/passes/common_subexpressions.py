"""common_subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.passes.rewrite import rebuild, resolve
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace


def common_subexpressions(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which nodes of equal operator and inputs are one; impure operators are left alone."""
    # By what attributes read like: 0.0 equals -0.0, but what is divided by them does not.
    seen: dict[tuple[type[Op], str, tuple[Value, ...], tuple[Spec, ...]], Node] = {}
    renamed: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(resolve(value, renamed) for value in node.inputs)
        key = (type(node.op), repr(node.op), inputs, tuple(graph.specs[value] for value in node.outputs))
        if node.op.pure and key in seen:
            renamed.update(zip(node.outputs, seen[key].outputs, strict=True))
            continue
        seen[key] = node
        nodes.append(node)
    return rebuild(graph, nodes, renamed), workspace.restricted(graph)
