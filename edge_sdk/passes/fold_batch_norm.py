"""fold_batch_norm: a normalisation by constants after a convolution is part of its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace


def fold_batch_norm(
    graph: Graph, workspace: Workspace, *, only: Collection[str] | None = None
) -> tuple[Graph, Workspace]:
    """Return the graph in which each inference batch norm after a convolution or dense layer is folded into it.

    y = s · (w · x + b - mean) + offset with s = scale / √(variance + ε) is (s · w) · x + (s · (b - mean) + offset),
    computed in float64. With `only`, layers are folded whose parameters are all among those names. The new weight and
    bias are named after the old weight.
    """
    arrays = workspace.restricted(graph)
    renamed: dict[Value, Value] = {}
    params: list[Value] = list(graph.params)
    specs: dict[Value, Spec] = {}
    replaced: dict[Value, Node] = {}  # by the layer's output
    dropped: set[Value] = set()
    for node in graph.nodes:
        layer = graph.producer(node.inputs[0]) if isinstance(node.op, BatchNorm) else None
        if layer is None or not isinstance(node.op, BatchNorm) or not _foldable(graph, layer, node, only):
            continue
        weight, bias = _folded(
            node.op, layer, [arrays[v] for v in layer.inputs[1:]], [arrays[v] for v in node.inputs[1:]]
        )
        taken = {*graph.specs, *specs}
        names = [_free(f"{layer.inputs[1]}.folded", taken), _free(f"{layer.inputs[1]}.folded_bias", taken)]
        for name, array in zip(names, (weight, bias), strict=True):
            arrays[name] = array
            params.append(name)
            specs[name] = Spec(array.shape, array.dtype.name)
        op = dataclasses.replace(layer.op, activation=node.op.activation)  # type: ignore[call-arg]
        replaced[layer.output] = Node(op, (layer.inputs[0], *names), layer.outputs)
        renamed[node.output] = layer.output
        dropped.add(node.output)
    nodes = [replaced.get(node.outputs[0], node) for node in graph.nodes if node.outputs[0] not in dropped]
    return dead_code(rebuild(graph, nodes, renamed, params=params, specs=specs), arrays)


def _foldable(graph: Graph, layer: Node, norm: Node, only: Collection[str] | None) -> bool:
    constants = (*layer.inputs[1:], *norm.inputs[1:])
    return (
        isinstance(layer.op, Conv2D | ConvTranspose2D | DepthwiseConv2D | Linear)
        and layer.op.activation is None
        and only_consumer(graph, layer.output) is norm
        and all(value in graph.params and value not in graph.updates for value in constants)
        and (only is None or all(value in only for value in constants))
    )


def _folded(op: BatchNorm, layer: Node, weights: list[Array], norm: list[Array]) -> tuple[Array, Array]:
    weight = weights[0]
    scale, offset, mean, variance = (array.astype(np.float64) for array in norm)
    bias = weights[1].astype(np.float64) if len(weights) == 2 else 0.0
    factor = scale / np.sqrt(variance + op.epsilon)
    # The output channel is the last axis of depthwise weights (1, r, s, k), the first of the others.
    along = factor if isinstance(layer.op, DepthwiseConv2D) else factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return (weight * along).astype(weight.dtype), ((bias - mean) * factor + offset).astype(weight.dtype)


def _free(name: str, taken: Collection[str]) -> Value:
    while name in taken:
        name += "_"
    return Value(name)
