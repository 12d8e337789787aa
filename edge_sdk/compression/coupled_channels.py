"""Channels that can only be removed together: which places of which arrays belong to one channel of a network.

A convolution's output channel is a row of its weights, an element of its bias and of the four vectors of the batch norm
behind it, and a column of the weights of every layer that reads it. A sum of two convolutions makes one channel of two,
a concatenation keeps them apart, a depthwise convolution and a gate have as many as they read (Fang et al. 2023,
"DepGraph: Towards any structural pruning").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.ops.linear import Linear
from edge_sdk.spec import Array, Value

WRITERS = (Conv2D, ConvTranspose2D, Linear)
"""Layers whose weights' first axis makes new channels, and whose last one reads those that are there."""

Places = Mapping[Value, Mapping[int, Array]]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of the same layers, of which any may be removed.

    Attributes:
        channels: Their numbers.
        writers: The outputs of the layers that write them, in execution order.
        width: How many outputs of such a layer one of them is; more than 1 where a convolution has groups.
    """

    channels: Array
    writers: tuple[Value, ...]
    width: int


@dataclass(frozen=True)
class CoupledChannels:
    """The channels of a graph by number, and where they lie.

    Attributes:
        count: How many there are.
        places: For a value, and each of its axes that has channels, the channel of every index.
        groups: Those that may be removed.
        kept: Layers whose outputs must all stay, by the name of their output, and why.
    """

    count: int
    places: Places
    groups: tuple[ChannelGroup, ...]
    kept: Mapping[Value, str]


def coupled_channels(graph: Graph) -> CoupledChannels:
    """Return the channels of a model's graph, with its batch norms as they are or folded.

    What the graph takes and returns stays, and so does what goes through an operator that needs all channels.

    Raises:
        GraphError: the graph is one of training, whose parameters are updated.
    """
    from edge_sdk.compression.coupling_rules import trace

    if graph.updates:
        raise GraphError(f"{graph.name!r} updates its parameters; remove channels before it gets its training form")
    joined = JoinedChannels(graph)
    for value in graph.inputs:
        joined.start(value, "it is the graph's input")
    for node in graph.nodes:
        trace(joined, node)
    for value in graph.outputs:
        joined.close(value, "it is an output of the graph")
    return joined.finished()


class JoinedChannels:
    """Numbers of channels in the making: given to indices of axes, joined, and closed where they must stay."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._places: dict[Value, dict[int, Array]] = {}
        self._parent: list[int] = []
        self._closed: list[tuple[Array, str]] = []
        self._writers: list[tuple[Value, Value]] = []

    def new(self, count: int) -> Array:
        """Return numbers of `count` channels that were not there before."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def join(self, a: Array, b: Array) -> None:
        """Say that channels are the same, in pairs."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            self._parent[self._find(one)] = self._find(other)

    def start(self, value: Value, reason: str) -> None:
        """Give a value, behind which nothing can be followed, channels that stay."""
        rank = self.graph.specs[value].rank
        if rank:
            self._places[value] = {rank - 1: self.new(max(self.graph.specs[value].shape[-1], 0))}
            self.close(value, reason)

    def close(self, value: Value, reason: str) -> None:
        """Say that a value's channels stay."""
        for ids in self._places.get(value, {}).values():
            self._closed.append((ids, reason))

    def channels(self, value: Value) -> tuple[int, Array] | None:
        """Return along which axis a computed value has channels, and which; None of a parameter and of a number."""
        if value in self.graph.params:
            return None
        return next(iter(self._places.get(value, {}).items()), None)

    def put(self, value: Value, axis: int, ids: Array) -> None:
        """Say which channels a computed value has."""
        self._places[value] = {axis: ids}

    def put_param(self, value: Value, axes: Mapping[int, Array]) -> None:
        """Say which channels the axes of a parameter are; where several nodes read it, they must agree."""
        if value not in self._places:
            self._places[value] = dict(axes)
            return
        known = self._places[value]
        for axis in sorted({*known, *axes}):
            if axis in known and axis in axes:
                self.join(axes[axis], known[axis])
                continue
            self._closed.append((known.get(axis, axes.get(axis, np.zeros(0, int))), f"{value} is read in two ways"))
            known.setdefault(axis, axes.get(axis, known.get(axis, np.zeros(0, int))))

    def put_writer(self, output: Value, weight: Value) -> None:
        """Say that a layer makes the channels along the first axis of its weights."""
        self._writers.append((output, weight))

    def finished(self) -> CoupledChannels:
        """Return all channels, numbered from 0."""
        roots = np.array([self._find(one) for one in range(len(self._parent))], int)
        _, numbers = np.unique(roots, return_inverse=True)
        places = {value: {axis: numbers[ids] for axis, ids in axes.items()} for value, axes in self._places.items()}
        count = int(numbers.max()) + 1 if len(numbers) else 0
        reasons: dict[int, str] = {}
        for ids, reason in self._closed:
            for channel in numbers[ids].tolist():
                reasons.setdefault(channel, reason)
        kept: dict[Value, str] = {}
        rows: dict[Value, Array] = {}
        for output, weight in self._writers:
            written = places[weight][0]
            rows[output] = written[[channel not in reasons for channel in written.tolist()]]
            if not len(rows[output]):
                kept[output] = reasons[int(written[0])]
        return CoupledChannels(count, places, tuple(_groups(count, rows)), kept)

    def _find(self, one: int) -> int:
        while self._parent[one] != one:
            self._parent[one] = self._parent[self._parent[one]]
            one = self._parent[one]
        return one


def _groups(count: int, rows: Mapping[Value, Array]) -> Sequence[ChannelGroup]:
    """Channels that a layer has in common, or that other layers of theirs have."""
    group = np.arange(count)
    for written in rows.values():
        if len(written):
            joined = np.isin(group, group[written])
            group[joined] = group[written].min()
    result = []
    for number in dict.fromkeys(int(group[written[0]]) for written in rows.values() if len(written)):
        writers = tuple(output for output, written in rows.items() if len(written) and group[written[0]] == number)
        channels = np.unique(np.concatenate([rows[output] for output in writers]))
        width = max(int(np.unique(rows[output], return_counts=True)[1].max()) for output in writers)
        result.append(ChannelGroup(channels, writers, width))
    return result


def readers(graph: Graph, coupled: CoupledChannels) -> list[tuple[Value, int]]:
    """Return the weights that read channels, each with its axis of inputs.

    A convolution that loses whole groups reads by its axis of outputs, whose channels are those of its inputs.
    """
    weights = dict.fromkeys(node.inputs[1] for node in graph.nodes if is_writer(graph, node))
    last = {value: graph.specs[value].rank - 1 for value in weights}
    return [(value, axis if axis in coupled.places[value] else 0) for value, axis in last.items()]


def is_writer(graph: Graph, node: Node) -> bool:
    """Tell whether a node is a layer with weights of its own that makes new channels."""
    return isinstance(node.op, WRITERS) and node.inputs[1] in graph.params
