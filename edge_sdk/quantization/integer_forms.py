"""Operators without an 8-bit form of their own, written with those that have one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.activation import HardSigmoid
from edge_sdk.ops.conv import DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace

IMAGE_RANK = 4


def integer_forms(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return an inference graph that can be quantized where the given one has gates, or norms that cannot be folded.

    Hard sigmoid is relu6(x + 3) / 6, a sum and a product. A batch norm of images that no convolution comes before is a
    1×1 depthwise convolution: its factors are rounded channel by channel, and its offsets to 32 bits.
    """
    nodes: list[Node] = []
    constants: dict[Value, Array] = {}
    values: dict[Value, Spec] = {}
    for node in graph.nodes:
        if isinstance(node.op, HardSigmoid):
            nodes += _hard_sigmoid(node, graph.specs, constants, values)
        elif isinstance(node.op, BatchNorm) and graph.specs[node.output].rank == IMAGE_RANK:
            nodes.append(_batch_norm(node.op, node, workspace, constants))
        else:
            nodes.append(node)
    if not constants:
        return graph, workspace
    arrays = workspace.restricted(graph)
    specs = {**values, **{value: Spec(array.shape, array.dtype.name) for value, array in constants.items()}}
    for value, array in constants.items():
        arrays[value] = array
    read = {value for node in nodes for value in node.inputs}
    params = [value for value in (*graph.params, *constants) if value in read]
    changed = rebuild(graph, nodes, params=params, specs=specs)
    return changed, arrays.restricted(changed)


def _hard_sigmoid(
    node: Node, specs: Mapping[Value, Spec], constants: dict[Value, Array], values: dict[Value, Spec]
) -> list[Node]:
    moved, three, sixth = (Value(f"{node.output}.{part}") for part in ("moved", "three", "sixth"))
    constants[three], constants[sixth] = np.full(1, 3, np.float32), np.full(1, 1 / 6, np.float32)
    values[moved] = specs[node.output]
    return [Node(Add("relu6"), (node.inputs[0], three), (moved,)), Node(Mul(), (moved, sixth), node.outputs)]


def _batch_norm(op: BatchNorm, node: Node, workspace: Workspace, constants: dict[Value, Array]) -> Node:
    scale, offset, mean, variance = (workspace[value].astype(np.float64) for value in node.inputs[1:])
    weight, bias = Value(f"{node.output}.factor"), Value(f"{node.output}.summand")
    factor = scale / np.sqrt(variance + op.epsilon)
    constants[weight] = factor.reshape(1, 1, 1, -1).astype(np.float32)
    constants[bias] = (offset - mean * factor).astype(np.float32)
    return Node(DepthwiseConv2D(activation=op.activation), (node.inputs[0], weight, bias), node.outputs)
