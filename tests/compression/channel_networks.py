"""Random networks for Hypothesis whose channels meet in every way: sums, gates, concatenations, shuffles, groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edge_sdk.builder import Builder
from edge_sdk.compression.coupled_channels import CoupledChannels, is_writer, readers
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import HardSigmoid, HardSwish, Relu, Tanh
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum, Mul
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.pool import GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.shape import Concat, Flatten, Pad, Reshape, Slice, Split
from edge_sdk.spec import BATCH, Array, Spec, Value
from edge_sdk.workspace import Workspace

SIZE = (4, 3)


class _Network:
    """A network in the making over images of one size, with any number of channels."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.g, self.workspace = Builder("random"), Workspace()
        self.values = [self.g.input("image", Spec((BATCH, *SIZE, 3), "float64"))]
        self.conv()

    def param(self, *shape: int) -> Value:
        name = f"p{len(self.g.params)}"
        self.workspace[name] = self.random.uniform(0.2, 1.0, shape) * self.random.choice([-1.0, 1.0], shape)
        return self.g.param(name, Spec(shape, "float64"))

    def any(self) -> Value:
        return self.draw(st.sampled_from(self.values))

    def channels(self, x: Value) -> int:
        return self.g.spec(x).shape[3]

    def conv(self) -> None:
        x, outputs = self.any(), self.draw(st.integers(1, 6))
        op = self.draw(st.sampled_from([Conv2D(padding="same"), ConvTranspose2D()]))
        kernel = 1 if isinstance(op, ConvTranspose2D) else 3
        weight = self.param(outputs, kernel, kernel, self.channels(x))
        bias = (self.param(outputs),) if self.draw(st.booleans()) else ()
        self.values.append(self.g.add(op, x, weight, *bias))

    def grouped(self) -> None:
        x = self.any()
        groups = self.draw(st.sampled_from([n for n in range(1, 7) if self.channels(x) % n == 0]))
        outputs = groups * self.draw(st.integers(1, 3))
        weight = self.param(outputs, 3, 3, self.channels(x) // groups)
        self.values.append(self.g.add(Conv2D(padding="same", groups=groups), x, weight, self.param(outputs)))

    def depthwise(self) -> None:
        x = self.any()
        outputs = self.channels(x) * self.draw(st.integers(1, 2))
        weight = self.param(1, 3, 3, outputs)
        self.values.append(self.g.add(DepthwiseConv2D(padding="same"), x, weight, self.param(outputs)))

    def batch_norm(self) -> None:
        x = self.any()
        scale, offset, mean, variance = (self.param(self.channels(x)) for _ in range(4))
        self.workspace[variance] = np.abs(self.workspace[variance])
        self.values.append(self.g.add(BatchNorm(), x, scale, offset, mean, variance))

    def unary(self) -> None:
        pad = Pad(((0, 0), (1, 0), (0, 1), (0, 0)))
        kind = self.draw(st.sampled_from(["activation", "pad"]))
        if kind == "pad":
            x = self.g.add(MaxPool2D((2, 2), (1, 1)), self.g.add(pad, self.any()))
        else:
            x = self.g.add(self.draw(st.sampled_from([Relu(), HardSwish(), Tanh()])), self.any())
        self.values.append(x)

    def binary(self) -> None:
        a = self.any()
        b = self.draw(st.sampled_from([v for v in self.values if self.channels(v) == self.channels(a)]))
        self.values.append(self.g.add(self.draw(st.sampled_from([Add(), Mul(), Maximum()])), a, b))

    def gate(self) -> None:
        """Squeeze-and-excitation."""
        x = self.any()
        c, hidden = self.channels(x), self.draw(st.integers(1, 3))
        y = self.g.add(ReduceMean((1, 2), keep_dims=True), x)
        y = self.g.add(Relu(), self.g.add(Conv2D(), y, self.param(hidden, 1, 1, c), self.param(hidden)))
        y = self.g.add(HardSigmoid(), self.g.add(Conv2D(), y, self.param(c, 1, 1, hidden), self.param(c)))
        self.values.append(self.g.add(Mul(), x, y))

    def scaled(self) -> None:
        """A parameter with a number for each channel."""
        x = self.any()
        self.values.append(self.g.add(Mul(), x, self.param(self.channels(x))))

    def concat(self) -> None:
        self.values.append(self.g.add(Concat(3), self.any(), self.any()))

    def cut(self) -> None:
        x = self.any()
        c = self.channels(x)
        if c > 1:
            first = self.draw(st.integers(1, c - 1))
            self.values.extend(self.g.add_multi(Split(3, (first, c - first)), x))
            begin, size = (0, 0, 0, c - first), (-1, *SIZE, first)
            self.values.append(self.g.add(Slice(begin, size), x))

    def shuffle(self) -> None:
        """The channels of two images in turn."""
        a = self.any()
        b = self.draw(st.sampled_from([v for v in self.values if self.channels(v) == self.channels(a)]))
        column = Reshape((BATCH, SIZE[0] * SIZE[1], self.channels(a), 1))
        pairs = self.g.add(Concat(3), self.g.add(column, a), self.g.add(column, b))
        self.values.append(self.g.add(Reshape((BATCH, *SIZE, 2 * self.channels(a))), pairs))

    def finished(self) -> tuple[Graph, Workspace]:
        """End with a classifier of everything, flattened or averaged."""
        x = self.g.add(Concat(3), *self.values[-3:])
        x = self.g.add(self.draw(st.sampled_from([Flatten(), GlobalAvgPool()])), x)
        logits = self.g.add(Linear(), x, self.param(3, self.g.spec(x).shape[1]), self.param(3), name="logits")
        return self.g.build(logits), self.workspace


KINDS = (
    "conv", "grouped", "depthwise", "batch_norm", "unary", "binary", "gate", "scaled", "concat", "cut", "shuffle"
)  # fmt: skip


@st.composite
def networks(draw: Callable[[Any], Any]) -> tuple[Graph, Workspace]:
    """A graph of two to ten blocks from `image` to `logits`, and its parameters."""
    network = _Network(draw)
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=10)):
        if network.channels(network.values[-1]) <= 24:
            getattr(network, kind)()
    return network.finished()


def some_channels(coupled: CoupledChannels, seed: int) -> Array:
    """Half of the channels that may go, at random, but for one in each place that must not be left empty."""
    random = np.random.default_rng(seed)
    removed = np.zeros(coupled.count, bool)
    for group in coupled.groups:
        removed[random.permutation(group.channels)[: len(group.channels) // 2]] = True
    for axes in coupled.places.values():
        for ids in axes.values():
            if len(ids) and removed[ids].all():
                removed[ids[0]] = False
    return removed


def written_as_zero(graph: Graph, workspace: Workspace, coupled: CoupledChannels, removed: Array) -> Workspace:
    """The weights with which the removed channels are 0: filters, biases, offsets and means of batch norms."""
    arrays = workspace.copy()
    for node in graph.nodes:
        if is_writer(graph, node):
            _clear(arrays, node.inputs[1], 0, coupled, removed)
        if is_writer(graph, node) or isinstance(node.op, DepthwiseConv2D):
            for bias in node.inputs[2:3]:
                _clear(arrays, bias, 0, coupled, removed)
        if isinstance(node.op, BatchNorm):
            _clear(arrays, node.inputs[2], 0, coupled, removed)
            _clear(arrays, node.inputs[3], 0, coupled, removed)
    return arrays


def never_read(graph: Graph, workspace: Workspace, coupled: CoupledChannels, removed: Array) -> Workspace:
    """The weights with which no layer takes any notice of the removed channels."""
    arrays = workspace.copy()
    for weight, axis in readers(graph, coupled):
        _clear(arrays, weight, axis, coupled, removed)
    return arrays


def _clear(arrays: Workspace, name: Value, axis: int, coupled: CoupledChannels, removed: Array) -> None:
    gone = removed[coupled.places[name][axis]]
    array = arrays[name].copy()
    np.moveaxis(array, axis, 0)[gone] = 0
    arrays[name] = array
