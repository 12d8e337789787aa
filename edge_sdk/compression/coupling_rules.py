"""What every operator does with channels: passes them on, joins them, moves them, reads them and writes new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edge_sdk.compression.coupled_channels import JoinedChannels, is_writer
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    PRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Tanh,
)
from edge_sdk.ops.control import Identity, StopGradient
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Abs, Add, Clip, Div, Exp, Log, Maximum, Minimum, Mul, Neg, Sqrt, Square, Sub
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.spec import Array

Rule = Callable[[JoinedChannels, Node], bool]
"""Follows the channels through a node, or returns False where it cannot."""


def trace(joined: JoinedChannels, node: Node) -> None:
    """Follow the channels through a node; where that is not possible, those that it takes and gives stay."""
    rule = RULES.get(type(node.op))
    if rule is not None and rule(joined, node):
        return
    reason = f"{node.op.name} ({node.outputs[0]}) needs all channels"
    for value in node.inputs:
        joined.close(value, reason)
        if value in joined.graph.params:
            joined.put_param(value, {})
    for value in node.outputs:
        joined.start(value, reason)


def _pass_on(joined: JoinedChannels, node: Node) -> bool:
    """The same channels along the same axis; what else the node reads has a number for each."""
    found = joined.channels(node.inputs[0])
    vectors = node.inputs[1:]
    specs, params = joined.graph.specs, joined.graph.params
    if found is None or any(value not in params or specs[value].shape != found[1].shape for value in vectors):
        return False
    for value in vectors:
        joined.put_param(value, {0: found[1]})
    joined.put(node.output, *found)
    return True


def _global_pool(joined: JoinedChannels, node: Node) -> bool:
    return _moved(joined, node, {3: 1})


def _reduce(joined: JoinedChannels, node: Node) -> bool:
    if not isinstance(node.op, ReduceMax | ReduceMean | ReduceSum):
        return False
    rank = joined.graph.specs[node.inputs[0]].rank
    left = [axis for axis in range(rank) if axis not in node.op.axes]
    return _moved(joined, node, {axis: axis if node.op.keep_dims else place for place, axis in enumerate(left)})


def _transpose(joined: JoinedChannels, node: Node) -> bool:
    if not isinstance(node.op, Transpose):
        return False
    return _moved(joined, node, {axis: place for place, axis in enumerate(node.op.permutation)})


def _moved(joined: JoinedChannels, node: Node, axes: Mapping[int, int]) -> bool:
    """The same channels, whose axis is another one."""
    found = joined.channels(node.inputs[0])
    if found is None or found[0] not in axes:
        return False
    joined.put(node.output, axes[found[0]], found[1])
    return True


def _pad(joined: JoinedChannels, node: Node) -> bool:
    found = joined.channels(node.inputs[0])
    unpadded = isinstance(node.op, Pad) and found is not None and node.op.paddings[found[0]] == (0, 0)
    return unpadded and _pass_on(joined, node)


def _elementwise(joined: JoinedChannels, node: Node) -> bool:
    """Channels in the same place, counted from the last axis, are the same; one number for all of them is none."""
    specs, full = joined.graph.specs, []
    for value in node.inputs:
        found = joined.channels(value)
        if found is not None and len(found[1]) > 1:
            full.append((found[0] - specs[value].rank, found[1]))
        elif found is not None:
            joined.close(value, f"{node.op.name} ({node.output}) spreads it over all channels")
    rank = specs[node.output].rank
    if not full or any(place != full[0][0] or len(ids) != len(full[0][1]) for place, ids in full):
        return False
    place, ids = full[0]
    if specs[node.output].shape[rank + place] != len(ids):
        return False
    for _, others in full[1:]:
        joined.join(others, ids)
    for value in node.inputs:
        if value in joined.graph.params:
            axis = specs[value].rank + place
            spread = axis < 0 or specs[value].shape[axis] == 1
            joined.put_param(value, {} if spread else {axis: ids})
    joined.put(node.output, rank + place, ids)
    return True


def _concat(joined: JoinedChannels, node: Node) -> bool:
    found = [joined.channels(value) for value in node.inputs]
    parts = [one for one in found if one is not None]
    if not isinstance(node.op, Concat) or len(parts) < len(found) or any(axis != parts[0][0] for axis, _ in parts):
        return False
    axis, ids = parts[0]
    if axis == node.op.axis:
        ids = np.concatenate([part for _, part in parts])
    else:
        for _, part in parts[1:]:
            joined.join(part, ids)
    joined.put(node.output, axis, ids)
    return True


def _split(joined: JoinedChannels, node: Node) -> bool:
    found = joined.channels(node.inputs[0])
    if found is None or not isinstance(node.op, Split):
        return False
    axis, ids = found
    ends = np.cumsum(node.op.sizes)
    for value, end, size in zip(node.outputs, ends, node.op.sizes, strict=True):
        joined.put(value, axis, ids[end - size : end] if axis == node.op.axis else ids)
    return True


def _slice(joined: JoinedChannels, node: Node) -> bool:
    found = joined.channels(node.inputs[0])
    if found is None or not isinstance(node.op, Slice):
        return False
    axis, ids = found
    begin = node.op.begin[axis]
    joined.put(node.output, axis, ids[begin : begin + joined.graph.specs[node.output].shape[axis]])
    return True


def _reshape(joined: JoinedChannels, node: Node) -> bool:
    """The elements keep their order, so an axis of the result has channels if every index along it lies in one."""
    found = joined.channels(node.inputs[0])
    before, after = (joined.graph.specs[value].shape for value in (node.inputs[0], node.output))
    if found is None or found[0] == 0 or before[:1] != after[:1]:
        return False
    axis, ids = found
    along = np.arange(before[axis]).reshape([-1 if one == axis else 1 for one in range(1, len(before))])
    places = np.broadcast_to(along, before[1:]).reshape(after[1:])
    for new in range(len(after) - 1):
        rows = np.moveaxis(places, new, 0).reshape(after[new + 1], -1)
        if rows.size and (rows == rows[:, :1]).all():
            joined.put(node.output, new + 1, ids[rows[:, 0]])
            return True
    return False


def _depthwise(joined: JoinedChannels, node: Node) -> bool:
    found = joined.channels(node.inputs[0])
    if found is None or any(value not in joined.graph.params for value in node.inputs[1:]):
        return False
    outputs = joined.graph.specs[node.output].shape[3]
    ids = np.repeat(found[1], outputs // len(found[1]))
    joined.put_param(node.inputs[1], {3: ids})
    for bias in node.inputs[2:]:
        joined.put_param(bias, {0: ids})
    joined.put(node.output, 3, ids)
    return True


def _layer(joined: JoinedChannels, node: Node) -> bool:
    """New channels, written by the rows of the weights; the columns read those that are there."""
    found = joined.channels(node.inputs[0])
    bias = node.inputs[2:3]
    if found is None or not is_writer(joined.graph, node) or any(value not in joined.graph.params for value in bias):
        return False
    weight, axis = node.inputs[1], joined.graph.specs[node.output].rank - 1
    written = joined.new(joined.graph.specs[node.output].shape[axis])
    groups = 1 if isinstance(node.op, Linear) else getattr(node.op, "groups", 1)
    read = found[1] if groups == 1 else _grouped(joined, found[1], written, groups)
    joined.put_param(weight, {0: written} if read is None else {0: written, joined.graph.specs[weight].rank - 1: read})
    for value in bias:
        joined.put_param(value, {0: written})
    for value in node.inputs[3:]:  # a sum that is part of the convolution
        residual = joined.channels(value)
        if residual is None or residual[0] != axis:
            joined.close(node.inputs[0], f"{node.op.name} ({node.output}) adds what cannot be followed")
            return False
        joined.join(residual[1], written)
    joined.put(node.output, axis, written)
    joined.put_writer(node.output, weight)
    return True


def _grouped(joined: JoinedChannels, read: Array, written: Array, groups: int) -> Array | None:
    """Join channels so that all groups of a convolution stay equally large; return those that a filter reads.

    Where there are at least as many groups as channels in each, whole groups go, and None is returned, since a filter
    reads as many as before. Else the same places of all groups go.
    """
    inputs, outputs = read.reshape(groups, -1), written.reshape(groups, -1)
    if groups >= inputs.shape[1]:
        for part in (inputs, outputs):
            joined.join(part[:, 1:].ravel(), np.repeat(part[:, 0], part.shape[1] - 1))
        joined.join(inputs[:, 0], outputs[:, 0])
        return None
    for part in (inputs, outputs):
        joined.join(part[1:].ravel(), np.tile(part[0], groups - 1))
    return np.asarray(inputs[0])


RULES: Mapping[type[Op], Rule] = {
    **dict.fromkeys((Abs, Clip, Exp, Log, Neg, Sqrt, Square), _pass_on),
    **dict.fromkeys((Gelu, HardSigmoid, HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Silu, Tanh), _pass_on),
    **dict.fromkeys((AdaptiveAvgPool2D, AvgPool2D, BatchNorm, MaxPool2D, Resize), _pass_on),
    **dict.fromkeys((Dropout, Identity, StopGradient), _pass_on),
    **dict.fromkeys((Add, Div, Maximum, Minimum, Mul, Sub), _elementwise),
    **dict.fromkeys((ReduceMax, ReduceMean, ReduceSum), _reduce),
    **dict.fromkeys((ExpandDims, Flatten, Reshape, Squeeze), _reshape),
    **dict.fromkeys((Conv2D, ConvTranspose2D, Linear), _layer),
    Concat: _concat,
    DepthwiseConv2D: _depthwise,
    GlobalAvgPool: _global_pool,
    Pad: _pad,
    Slice: _slice,
    Split: _split,
    Transpose: _transpose,
}
