"""fuse_activation: apply relu and relu6 where the number before them is made."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.activation import Relu, Relu6
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.geometry import Activation
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

FUSABLE = (Conv2D, ConvTranspose2D, DepthwiseConv2D, Linear, Add, BatchNorm, BatchNormTraining)


def fuse_activation(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which each relu or relu6 that alone reads a fusable operator's result is part of it."""
    activated: dict[Value, Node] = {}  # by the output of the node before
    renamed: dict[Value, Value] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Relu | Relu6):
            continue
        source = graph.producer(node.inputs[0])
        if source is None or not isinstance(source.op, FUSABLE) or source.op.activation is not None:
            continue
        if source.outputs[0] != node.inputs[0] or only_consumer(graph, node.inputs[0]) is not node:
            continue
        activation: Activation = "relu6" if isinstance(node.op, Relu6) else "relu"
        op = dataclasses.replace(source.op, activation=activation)
        activated[source.outputs[0]] = dataclasses.replace(source, op=op)
        renamed[node.output] = source.outputs[0]
    nodes = [activated.get(node.outputs[0], node) for node in graph.nodes if node.outputs[0] not in renamed]
    return rebuild(graph, nodes, renamed), workspace.restricted(graph)
