"""to_inference: the inverse of to_training."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.ops.random import Dropout
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace


def to_inference(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph with batch norm by running statistics, without dropout and without updates."""
    # Gradients read what only the training form computes; without updates nothing needs them.
    graph, workspace = dead_code(dataclasses.replace(graph, updates={}), workspace)
    nodes: list[Node] = []
    renamed: dict[Value, Value] = {}
    for node in graph.nodes:
        if isinstance(node.op, Dropout):
            renamed[node.output] = node.inputs[0]
        elif isinstance(node.op, BatchNormTraining):
            op = BatchNorm(node.op.epsilon, activation=node.op.activation)
            nodes.append(Node(op, node.inputs, node.outputs[:1]))
        else:
            nodes.append(node)
    return dead_code(rebuild(graph, nodes, renamed), workspace)
