"""Cross-layer equalization: channels of very different range are rescaled until one scale fits them all.

Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019
(https://arxiv.org/abs/1906.04721), section 4.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.activation import Relu, Relu6
from edge_sdk.ops.elementwise import Minimum
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.quantization.candidate import Candidate, observe
from edge_sdk.quantization.channel_groups import (
    ChannelGroup,
    channel_groups,
    input_ranges,
    output_ranges,
    scale_inputs,
    scale_outputs,
)
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace

Limits = Literal["keep", "bounded", "minimum"]
SWEEPS = 60
CONVERGED = 1e-3
"""The largest change of a factor's logarithm in the last sweep."""


def equalize(candidate: Candidate, images: Iterable[Array], *, limits: Limits = "bounded") -> Candidate:
    """Return a candidate that computes the same function with channels of more equal ranges, observed anew.

    For one layer that writes a channel, with weights of range r₁, and one that reads it, with r₂, the channel is made
    √(r₂ / r₁) times as large, so that both ranges become √(r₁ · r₂). Where several layers write or read it, through
    sums too, r is the geometric mean of theirs. Layers that share no scale are swept again until nothing changes.

    A ReLU6 does not commute with a factor: its limit would be another one for each channel. `limits` says what becomes
    of such channels:

    - "keep": they stay as they are;
    - "bounded": a channel that reaches 6 on `images` stays, any other one is rescaled so far that it does not reach 6,
      which leaves the function unchanged on `images` and costs nothing on the phone;
    - "minimum": ReLU6 becomes ReLU and a minimum with a limit a channel: the same function for every image, for one
      more operator a layer.

    Channels behind a minimum of the graph's own, with a number for each, are rescaled with that number.

    Scales, roundings and corrections of biases that were decided before, for other weights, are dropped.

    Raises:
        UsageError: `limits` is none of those.
        DataError: there is no image.
    """
    if limits not in get_args(Limits):
        raise UsageError(
            f"limits {limits!r} is not one of {', '.join(get_args(Limits))}{suggestion(limits, get_args(Limits))}"
        )
    candidate = dataclasses.replace(candidate, workspace=candidate.floats, float_biases={})
    groups = channel_groups(candidate.graph)
    clipped = {value for group in groups for value in _clipped(candidate.graph, group)}
    largest = _largest(candidate, sorted(clipped), images) if clipped and limits == "bounded" else {}
    weights = {value: candidate.workspace[value].astype(np.float64) for value in _parameters(groups)}
    factors = _factors(candidate.graph, groups, weights, largest, limits)
    changed = _changed(candidate, groups, weights, factors if limits == "minimum" else None)
    return observe(changed, images)


def has_limits(graph: Graph) -> bool:
    """Tell whether a ReLU6 limits channels that could be rescaled, so that `limits` makes a difference."""
    return any(_clipped(graph, group) for group in channel_groups(graph))


def rescale(candidate: Candidate, groups: Sequence[ChannelGroup], factors: Sequence[Array]) -> Candidate:
    """Return a candidate with the same function, the channels of each group multiplied by its factors, (channels,).

    A ReLU6 of them becomes ReLU and a minimum. What was observed and decided before is dropped.
    """
    candidate = dataclasses.replace(candidate, workspace=candidate.floats, float_biases={})
    weights = {value: candidate.workspace[value].astype(np.float64) for value in _parameters(groups)}
    for group, factor in zip(groups, factors, strict=True):
        _apply(group, weights, factor)
    return _changed(candidate, groups, weights, factors)


def _changed(
    candidate: Candidate,
    groups: Sequence[ChannelGroup],
    weights: Mapping[Value, Array],
    factors: Sequence[Array] | None,
) -> Candidate:
    """Return a candidate with other weights, and with minimums for the limits of channels that have `factors`."""
    graph, workspace = candidate.graph, candidate.workspace.restricted(candidate.graph)
    for value, array in weights.items():
        workspace[value] = array.astype(candidate.workspace[value].dtype)
    scheme = candidate.scheme
    if factors is not None:
        graph, limited = _with_minimums(graph, workspace, groups, factors)
        layers = {**scheme.layers, **{new: scheme.layers[old] for old, new in limited.items() if old in scheme.layers}}
        scheme = dataclasses.replace(scheme, layers=layers)
    return dataclasses.replace(
        candidate, graph=graph, workspace=workspace, scheme=scheme, activations={}, weight_parameters={}, rounded={}
    )


def _parameters(groups: Sequence[ChannelGroup]) -> list[Value]:
    layers = [node for group in groups for node in (*group.writers, *group.readers)]
    limits = [value for group in groups for value in group.limits]
    return list(dict.fromkeys([*(value for node in layers for value in node.inputs[1:]), *limits]))


def _apply(group: ChannelGroup, weights: dict[Value, Array], factors: Array) -> None:
    for node in group.writers:
        weights[node.inputs[1]] = scale_outputs(node, weights[node.inputs[1]], factors)
        for bias in node.inputs[2:]:
            weights[bias] = weights[bias] * factors
    for node in group.readers:
        weights[node.inputs[1]] = scale_inputs(node, weights[node.inputs[1]], factors)
    for limit in group.limits:
        weights[limit] = weights[limit] * np.tile(factors, weights[limit].size // len(factors))


def _factors(
    graph: Graph,
    groups: Sequence[ChannelGroup],
    weights: dict[Value, Array],
    largest: Mapping[Value, Array],
    limits: Limits,
) -> list[Array]:
    """Rescale the weights in place until they are equal, and return by how much in all, for each group."""
    total = [np.ones(group.channels) for group in groups]
    bounds = [_bounds(graph, group, largest, limits) for group in groups]
    for _ in range(SWEEPS):
        change = 0.0
        for index, group in enumerate(groups):
            lowest, highest = bounds[index]
            wanted = np.clip(total[index] * _step(group, weights), lowest, highest)
            step = wanted / total[index]
            _apply(group, weights, step)
            total[index] = wanted
            change = max(change, float(np.abs(np.log(step)).max()))
        if change < CONVERGED:
            break
    return total


def _step(group: ChannelGroup, weights: Mapping[Value, Array]) -> Array:
    """The factors that make the ranges of writers and readers equal; 1 where a channel is never written or read."""
    written = [output_ranges(node, weights[node.inputs[1]]) for node in group.writers]
    read = [input_ranges(node, weights[node.inputs[1]], group.channels) for node in group.readers]
    alive = np.all([ranges > 0 for ranges in (*written, *read)], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.mean(np.log(read), axis=0) - np.mean(np.log(written), axis=0)
    return np.exp(np.where(alive, logarithm, 0.0) / 2)


def _clipped(graph: Graph, group: ChannelGroup) -> list[Value]:
    """The values of a group that a ReLU6 has limited."""
    nodes = [(value, graph.producer(value)) for value in group.values]
    return [value for value, node in nodes if node is not None and _limits_at_6(node)]


def _limits_at_6(node: Node) -> bool:
    return isinstance(node.op, Relu6) or getattr(node.op, "activation", None) == "relu6"


def _largest(candidate: Candidate, values: Sequence[Value], images: Iterable[Array]) -> dict[Value, Array]:
    """The largest number of every channel of some values."""
    found: dict[Value, Array] = {}
    for batch in outputs_of(candidate.graph, candidate.workspace, values, images):
        for value, array in batch.items():
            seen = array.reshape(-1, array.shape[-1]).max(axis=0)
            found[value] = np.maximum(found[value], seen) if value in found else seen
    return found


def _bounds(
    graph: Graph, group: ChannelGroup, largest: Mapping[Value, Array], limits: Limits
) -> tuple[Array | float, Array | float]:
    """The smallest and largest factor that each channel of a group may get in all."""
    clipped = _clipped(graph, group)
    if not clipped or limits == "minimum":
        return 0.0, np.inf
    if limits == "keep":
        return 1.0, 1.0
    seen = np.max([largest[value].reshape(-1, group.channels).max(axis=0) for value in clipped], axis=0)
    reaches = seen >= 6
    room = 6 / np.maximum(seen.astype(np.float64), np.finfo(np.float32).tiny)
    return np.where(reaches, 1.0, 0.0), np.where(reaches, 1.0, room)


def _with_minimums(
    graph: Graph, workspace: Workspace, groups: Sequence[ChannelGroup], factors: Sequence[Array]
) -> tuple[Graph, dict[Value, Value]]:
    """Return the graph in which the limit of every ReLU6 of rescaled channels is a number for each channel.

    Beside it are, by the name that the limited value keeps, the names of values before their limit.
    """
    at = {value: factor for group, factor in zip(groups, factors, strict=True) for value in _clipped(graph, group)}
    nodes: list[Node] = []
    specs: dict[Value, Spec] = {}
    params = list(graph.params)
    before: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.outputs[0] not in at:
            nodes.append(node)
            continue
        open_value, limit = Value(f"{node.output}.unlimited"), Value(f"{node.output}.limit")
        spec, factor = graph.specs[node.output], at[node.output]
        op = Relu() if isinstance(node.op, Relu6) else dataclasses.replace(node.op, activation="relu")  # type: ignore[call-arg]
        nodes += [Node(op, node.inputs, (open_value,)), Node(Minimum(), (open_value, limit), node.outputs)]
        workspace[limit] = np.tile(6 * factor, spec.shape[-1] // len(factor)).astype(np.float32)
        specs |= {open_value: spec, limit: Spec((spec.shape[-1],))}
        params.append(limit)
        before[node.output] = open_value
    return rebuild(graph, nodes, params=params, specs=specs), before
