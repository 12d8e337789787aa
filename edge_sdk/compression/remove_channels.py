"""The pass that removes channels: weights, shapes and attributes of a smaller network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edge_sdk.compression.coupled_channels import CoupledChannels
from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.ops.shape import Reshape, Slice, Split
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace


def remove_channels(
    graph: Graph, workspace: Workspace, coupled: CoupledChannels, removed: Array
) -> tuple[Graph, Workspace]:
    """Return the network without the channels where `removed` (channels,) is true; the others keep their order.

    It computes what the whole network would if nobody read them. Batch norms stay, so that it can be trained. Arrays
    that lose nothing are shared.

    Raises:
        GraphError: channels that must stay are among them, or all of a layer's.
    """
    smaller = without_channels(graph, coupled, removed)
    arrays = Workspace()
    for value in graph.params:
        array = workspace[value]
        for axis, ids in coupled.places.get(value, {}).items():
            if removed[ids].any():
                array = np.compress(~removed[ids], array, axis)
        arrays[value] = array
    arrays.check(smaller)
    return smaller, arrays


def without_channels(graph: Graph, coupled: CoupledChannels, removed: Array) -> Graph:
    """Return the graph of `remove_channels`, for which no weights are needed."""
    free = np.zeros(coupled.count, bool)
    for group in coupled.groups:
        free[group.channels] = True
    if len(removed) != coupled.count or bool((removed & ~free).any()):
        raise GraphError(f"{graph.name!r}: channels that must stay were to be removed; take those of `groups`")
    kept: dict[Value, dict[int, Array]] = {}
    for value, axes in coupled.places.items():
        kept[value] = {axis: ~removed[ids] for axis, ids in axes.items()}
        if any(mask.size and not mask.any() for mask in kept[value].values()):
            raise GraphError(f"{graph.name!r}: no channel of {value} would be left")
    specs = {value: _narrowed(graph.specs[value], kept.get(value, {})) for value in (*graph.inputs, *graph.params)}
    nodes = []
    for node in graph.nodes:
        op = _operator(graph, node, kept)
        inferred = op.infer_outputs([specs[value] for value in node.inputs])
        for value, spec in zip(node.outputs, inferred, strict=True):
            specs[value] = Spec(spec.shape, graph.specs[value].dtype)
        nodes.append(dataclasses.replace(node, op=op))
    smaller = dataclasses.replace(graph, nodes=tuple(nodes), specs=specs)
    verify(smaller)
    return smaller


def _narrowed(spec: Spec, kept: Mapping[int, Array]) -> Spec:
    shape = list(spec.shape)
    for axis, mask in kept.items():
        shape[axis] = int(mask.sum())
    return Spec(tuple(shape), spec.dtype)


def _operator(graph: Graph, node: Node, kept: Mapping[Value, Mapping[int, Array]]) -> Op:
    """The node's operator with the numbers of channels among its attributes brought up to date."""
    op, x = node.op, node.inputs[0] if node.inputs else Value("")
    if isinstance(op, Split):
        mask = kept.get(x, {}).get(op.axis)
        if mask is None:
            return op
        parts = np.split(mask, np.cumsum(op.sizes)[:-1])
        return dataclasses.replace(op, sizes=tuple(int(part.sum()) for part in parts))
    if isinstance(op, Slice):
        begin, size = list(op.begin), list(op.size)
        for axis, mask in kept.get(x, {}).items():
            first, length = op.begin[axis], graph.specs[node.output].shape[axis]
            begin[axis] = int(mask[:first].sum())
            size[axis] = int(mask[first : first + length].sum()) if axis or size[axis] != -1 else -1
        return dataclasses.replace(op, begin=tuple(begin), size=tuple(size))
    if isinstance(op, Reshape):
        shape = list(op.shape)
        for axis, mask in kept.get(node.output, {}).items():
            shape[axis] = int(mask.sum()) if shape[axis] != -1 else -1
        return dataclasses.replace(op, shape=tuple(shape))
    if isinstance(op, Conv2D | ConvTranspose2D) and op.groups > 1 and 3 not in kept.get(node.inputs[1], {}):
        mask = kept.get(x, {}).get(3)
        if mask is not None:
            return dataclasses.replace(op, groups=int(mask.sum()) // graph.specs[node.inputs[1]].shape[3])
    return op
