"""Channels that can be rescaled without changing what a network computes: who writes and who reads them.

Where every layer that writes a channel multiplies it by a factor above 0, and every layer that reads it divides by the
factor, the result is the same, since what lies between (ReLU, pools, sums of images) commutes with such factors. So
does a minimum with a number for each channel, when those numbers are multiplied too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.activation import LeakyRelu, Relu, Relu6
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Minimum
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.shape import Flatten, Pad
from edge_sdk.quantization.layer_outputs import WEIGHTED
from edge_sdk.spec import Array, Value

CHANNELWISE = (AdaptiveAvgPool2D, AvgPool2D, Flatten, GlobalAvgPool, LeakyRelu, MaxPool2D, Relu, Relu6)


@dataclass(frozen=True)
class ChannelGroup:
    """Values whose channels have one factor each.

    Attributes:
        channels: How many factors there are.
        values: The values, in execution order; a flattened one repeats its channels.
        writers: Layers whose output channels these are.
        readers: Layers whose input channels these are.
        limits: Parameters with the largest number of each channel, or of each flattened one.
    """

    channels: int
    values: tuple[Value, ...]
    writers: tuple[Node, ...]
    readers: tuple[Node, ...]
    limits: tuple[Value, ...] = ()


def channel_groups(graph: Graph) -> list[ChannelGroup]:
    """Return the groups of a float inference graph in which every writer and reader is a layer with its own weights.

    What the graph takes and returns keeps its scale, and so does whatever another operator reads or writes.
    """
    joined = _Joined()
    shared = Counter(value for node in graph.nodes for value in node.inputs if value in graph.params)
    for value in (*graph.inputs, *graph.outputs):
        joined.close(value)
    for node in graph.nodes:
        computed = [value for value in node.inputs if value not in graph.params]
        if isinstance(node.op, WEIGHTED):
            own = len(computed) == 1 and len(node.inputs) <= 3 and all(shared[v] == 1 for v in node.inputs[1:])
            if not own:
                joined.close(*computed, *node.outputs)
        elif _keeps_channels(graph, node, computed) or _limits_channels(graph, node, shared):
            for value in computed:
                joined.join(value, node.output)
        else:
            joined.close(*computed, *node.outputs)
    return _groups(graph, joined)


def output_ranges(node: Node, weight: Array) -> Array:
    """Return the largest magnitude of the weights of each output channel of a layer."""
    return np.asarray(np.abs(_by_output(node, weight)).max(axis=1))


def input_ranges(node: Node, weight: Array, channels: int) -> Array:
    """Return the largest magnitude of the weights that each input channel of a layer meets."""
    return np.asarray(np.abs(_by_input(node, weight, channels)).max(axis=(0, 2)))


def scale_outputs(node: Node, weight: Array, factors: Array) -> Array:
    """Return the weights that make each output channel `factors` times as large."""
    return weight * (factors if isinstance(node.op, DepthwiseConv2D) else factors.reshape(-1, *[1] * (weight.ndim - 1)))


def scale_inputs(node: Node, weight: Array, factors: Array) -> Array:
    """Return the weights that undo input channels `factors` times as large."""
    divided = _by_input(node, weight, len(factors)) / factors[:, np.newaxis]
    if isinstance(node.op, Conv2D) and node.op.groups > 1:
        groups, outputs = node.op.groups, len(weight) // node.op.groups
        parts = divided.reshape(outputs, *weight.shape[1:3], groups, -1, 1)[..., 0]
        return np.moveaxis(parts, 3, 0).reshape(weight.shape)
    return divided.reshape(weight.shape)


def _by_output(node: Node, weight: Array) -> Array:
    """The weights as (output channel, the rest)."""
    moved = np.moveaxis(weight, -1, 0) if isinstance(node.op, DepthwiseConv2D) else weight
    return moved.reshape(len(moved), -1)


def _by_input(node: Node, weight: Array, channels: int) -> Array:
    """The weights as (before, input channel, after)."""
    if isinstance(node.op, DepthwiseConv2D):  # (1, r, s, c · m)
        return weight.reshape(-1, channels, weight.shape[3] // channels)
    if isinstance(node.op, Conv2D) and node.op.groups > 1:  # (k, r, s, c / groups), k in groups
        parts = weight.reshape(node.op.groups, -1, *weight.shape[1:])
        return np.moveaxis(parts, 0, 3).reshape(-1, channels, 1)
    return weight.reshape(-1, channels, 1)


def _keeps_channels(graph: Graph, node: Node, computed: list[Value]) -> bool:
    """Tell whether an operator commutes with factors of its channels, a ReLU6 but for its limit."""
    if isinstance(node.op, Add):
        return len(computed) == 2 and graph.specs[computed[0]].shape == graph.specs[computed[1]].shape
    if isinstance(node.op, Pad):
        return node.op.value == 0 and node.op.paddings[-1] == (0, 0)
    return isinstance(node.op, CHANNELWISE)


def _limits_channels(graph: Graph, node: Node, shared: Counter[Value]) -> bool:
    """Tell whether an operator is a minimum with a number of its own for each channel."""
    if not isinstance(node.op, Minimum) or node.inputs[0] in graph.params or node.inputs[1] not in graph.params:
        return False
    limit, spec = graph.specs[node.inputs[1]].shape, graph.specs[node.output]
    alone = shared[node.inputs[1]] == 1 and spec.shape == graph.specs[node.inputs[0]].shape
    return alone and int(np.prod(limit)) == limit[-1] == spec.shape[-1]


class _Joined:
    """Sets of values that share their factors, and which of those sets must keep their scale."""

    def __init__(self) -> None:
        self._parent: dict[Value, Value] = {}
        self._closed: list[Value] = []

    def find(self, value: Value) -> Value:
        while self._parent.setdefault(value, value) != value:
            value = self._parent[value]
        return value

    def join(self, a: Value, b: Value) -> None:
        self._parent[self.find(a)] = self.find(b)

    def close(self, *values: Value) -> None:
        self._closed.extend(values)

    def closed(self) -> set[Value]:
        return {self.find(value) for value in self._closed}


def _groups(graph: Graph, joined: _Joined) -> list[ChannelGroup]:
    members: dict[Value, list[Value]] = {}
    for value in (value for node in graph.nodes for value in node.outputs):
        members.setdefault(joined.find(value), []).append(value)
    closed = joined.closed()
    layers = [node for node in graph.nodes if isinstance(node.op, WEIGHTED)]
    groups = []
    for root, values in members.items():
        writers = tuple(node for node in layers if joined.find(node.outputs[0]) == root)
        readers = tuple(node for node in layers if joined.find(node.inputs[0]) == root)
        channels = min((graph.specs[node.outputs[0]].shape[-1] for node in writers), default=0)
        if root in closed or not writers or not readers or not _fits(graph, values, readers, channels):
            continue
        limits = tuple(
            node.inputs[1]
            for node in graph.nodes
            if isinstance(node.op, Minimum) and joined.find(node.outputs[0]) == root
        )
        groups.append(ChannelGroup(channels, tuple(values), writers, readers, limits))
    return groups


def _fits(graph: Graph, values: list[Value], readers: tuple[Node, ...], channels: int) -> bool:
    """Tell whether all values have these channels; dense layers may read them flattened, once for every pixel."""
    images = all(graph.specs[v].shape[-1] == channels for v in values if graph.specs[v].rank == 4)
    whole = all(graph.specs[v].shape[-1] % channels == 0 for v in values)
    read = all(isinstance(node.op, Linear) or graph.specs[node.inputs[0]].rank == 4 for node in readers)
    return images and whole and read
