"""to_inference: the inverse of to_training."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.statistics import BatchNormTrainingGathered, Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace


def to_inference(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph with batch norm by running statistics, without dropout and without updates."""
    # Gradients read what only the training form computes; without updates nothing needs them.
    graph, workspace = dead_code(dataclasses.replace(graph, updates={}), workspace)
    nodes: list[Node] = []
    renamed: dict[Value, Value] = {}
    specs = dict(graph.specs)
    for node in graph.nodes:
        if isinstance(node.op, Dropout):
            renamed[node.output] = node.inputs[0]
        elif isinstance(node.op, BatchNormTraining):
            nodes += _by_running_statistics(node, node.op, specs)
        elif isinstance(node.op, BatchNormTrainingGathered):
            plain = Node(node.op.norm, (*node.inputs[:5], *node.inputs[6:]), node.outputs)
            nodes += _by_running_statistics(plain, node.op.norm, specs)
        elif isinstance(node.op, Conv2DStatistics | DepthwiseConv2DStatistics):
            nodes.append(Node(node.op.convolution, node.inputs, node.outputs[:1]))
        else:
            nodes.append(node)
    return dead_code(rebuild(graph, nodes, renamed, specs=specs), workspace)


def _by_running_statistics(node: Node, op: BatchNormTraining, specs: dict[Value, Spec]) -> list[Node]:
    """The inference form of a batch norm; its residual, where it has one, is added by a node of its own."""
    y = node.outputs[0]
    if len(node.inputs) == 5:
        return [Node(BatchNorm(op.epsilon, activation=op.activation), node.inputs, (y,))]
    normalised = Value(f"{y}:normalised")
    specs[normalised] = specs[y]
    return [
        Node(BatchNorm(op.epsilon), node.inputs[:5], (normalised,)),
        Node(Add(op.activation), (normalised, node.inputs[5]), (y,)),
    ]
