"""What a graph costs to run: multiply-adds of its convolutions and matrix products."""

from __future__ import annotations

import math

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import BATCH


def multiply_adds(graph: Graph) -> int:
    """Return the multiply-adds of one run; other operators cost little beside them.

    Raises:
        GraphError: the batch is open; bind it first, as in `graph.bind(1)`.
    """
    if any(BATCH in graph.specs[value].shape for value in graph.inputs):
        raise GraphError(f"graph {graph.name!r} has an open batch; count the multiply-adds of graph.bind(1)")
    return sum(node_multiply_adds(graph, node) for node in graph.nodes)


def node_multiply_adds(graph: Graph, node: Node) -> int:
    """Return the multiply-adds of one node: outputs times the products that each of them sums."""
    if not isinstance(node.op, Conv2D | DepthwiseConv2D | Linear | MatMul):
        return 0
    outputs = math.prod(graph.specs[node.output].shape)
    weight = graph.specs[node.inputs[1]].shape
    match node.op:
        case Conv2D():
            return outputs * math.prod(weight[1:])
        case DepthwiseConv2D():
            return outputs * weight[1] * weight[2]
        case Linear():
            return outputs * weight[1]
        case _:
            depth = graph.specs[node.inputs[0]].shape[-2 if node.op.transpose_a else -1]
            return outputs * depth
