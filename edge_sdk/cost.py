"""What a graph costs to run: multiply-adds of its convolutions and matrix products, bytes of its values."""

from __future__ import annotations

import math

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradInputAdded,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.statistics import Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.ops.update import LinearAdamUpdate, LinearRMSPropUpdate, LinearSGDUpdate
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
    """Return the multiply-adds of one node, 0 for operators that are not sums of products.

    Outputs times the products that each of them sums. Both gradients of a convolution cost what it costs itself: each
    of its products appears once in either. (At padded edges some of them are with zero, and counted all the same.)
    """
    shapes = [graph.specs[value].shape for value in node.inputs]
    match node.op:
        case Conv2D() | Conv2DStatistics():
            return math.prod(graph.specs[node.outputs[0]].shape) * math.prod(shapes[1][1:])
        case DepthwiseConv2D() | DepthwiseConv2DStatistics():
            return math.prod(graph.specs[node.outputs[0]].shape) * shapes[1][1] * shapes[1][2]
        case ConvTranspose2D():  # of x and w (k, r, s, c / groups): each pixel of x meets every tap
            return math.prod(shapes[0][:3]) * math.prod(shapes[1])
        case Conv2DGradInput() | Conv2DGradInputAdded():  # of dy and w
            return math.prod(shapes[0]) * math.prod(shapes[1][1:])
        case Conv2DGradWeight():  # of dy and x
            return math.prod(shapes[0]) * math.prod(graph.specs[node.output].shape[1:])
        case DepthwiseConv2DGradInput():
            return math.prod(shapes[0]) * shapes[1][1] * shapes[1][2]
        case DepthwiseConv2DGradWeight():
            return math.prod(shapes[0]) * math.prod(node.op.kernel_size)
        case Linear():
            return math.prod(graph.specs[node.output].shape) * shapes[1][1]
        case LinearSGDUpdate() | LinearAdamUpdate() | LinearRMSPropUpdate():  # of weight, dy and x
            return shapes[1][0] * math.prod(shapes[0])
        case MatMul():
            return math.prod(graph.specs[node.output].shape) * shapes[0][-2 if node.op.transpose_a else -1]
        case _:
            return 0


def node_bytes(graph: Graph, node: Node) -> int:
    """Return the bytes of one node's inputs and outputs: what it moves at least."""
    return sum(graph.specs[value].bytes for value in (*node.inputs, *node.outputs))
