"""Empirical bias correction: rounding shifts the mean of a channel, and its bias takes the shift back.

Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019
(https://arxiv.org/abs/1906.04721), section 4.2 and appendix D.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.frontier import Frontier
from edge_sdk.quantization.layer_outputs import integer_name, integer_node, outputs_of, weighted_layers
from edge_sdk.quantization.parameters import quantize_bias
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

LEAST_SHARE = 0.05
"""A channel's shift is not divided by a smaller share of numbers that follow its bias."""


def correct_biases(candidate: Candidate, images: Iterable[Array], *, stages: int | None = None) -> Candidate:
    """Return a candidate whose biases make the mean of every output channel what it is on real numbers.

    b is lowered by E[ŷ] - E[y], over all pixels of all images, of the integer graph and of the float one. Behind a ReLU
    only the share of numbers that it lets through follows the bias, and the shift is divided by that share. What lies
    beyond the range of the stored integers is taken for its end: no bias brings it back, and the others need not make
    up for it.

    A layer is corrected when those before it are. With `stages`, neighbouring layers are corrected together in that
    many stages: a little cheaper, but a layer then also takes back what those before it in its stage cause.

    Raises:
        UsageError: the candidate was not observed, or `stages` is below 1.
        DataError: there is no image.
    """
    if stages is not None and stages < 1:
        raise UsageError(f"stages: wanted at least 1, found {stages}")
    graph, workspace = candidate.graph, candidate.workspace.restricted(candidate.graph)
    integers, arrays = integer_graph(candidate, "float32")
    layers = [node for node in _with_biases(graph) if integer_node(integers, node) is not None]
    if not layers:
        return candidate
    reach = {node.output: _reach(integers, node.output) for node in layers}
    floats = _clipped(outputs_of(graph, candidate.floats, [node.output for node in layers], images), reach)
    wanted = _means(floats, _limits(layers, reach))
    frontier = Frontier(integers, images)
    for stage in np.array_split(np.arange(len(layers)), min(stages or len(layers), len(layers))):
        nodes = [layers[index] for index in stage]
        stored = {node.output: integers.producers[integer_name(integers, node.output)] for node in nodes}
        frontier.advance(arrays, stored[nodes[0].output].inputs[0])
        found = _means(frontier.outputs(arrays, [one.output for one in stored.values()]), {})
        for node in nodes:
            mean, share = wanted[node.output]
            shift = found[stored[node.output].output][0] - mean
            bias = workspace[node.inputs[2]]
            corrected = bias - np.where(share > 0, shift / np.maximum(share, LEAST_SHARE), 0.0)
            workspace[node.inputs[2]] = corrected.astype(bias.dtype)
            _store(integers, arrays, stored[node.output], workspace[node.inputs[2]])
    before = {node.inputs[2]: candidate.floats[node.inputs[2]] for node in layers}
    return dataclasses.replace(candidate, workspace=workspace, float_biases={**candidate.float_biases, **before})


def _store(integers: Graph, arrays: Workspace, node: Node, bias: Array) -> None:
    """Give a node of the integer graph another bias."""
    x, weight, stored = node.inputs
    scale, weights = integers.specs[x].quant, integers.specs[weight].quant
    if scale is None or weights is None:
        raise TypeError(f"{node.output!r} does not compute on integers")
    arrays[stored], _ = quantize_bias(bias, scale.scale[0], weights)


def _with_biases(graph: Graph) -> list[Node]:
    """The layers whose bias is theirs alone."""
    return [
        node
        for node in weighted_layers(graph)
        if len(node.inputs) == 3 and node.inputs[2] in graph.params and len(graph.consumers(node.inputs[2])) == 1
    ]


def _reach(integers: Graph, value: Value) -> tuple[float, float]:
    """The smallest and the largest real number that the stored integers of a float value stand for."""
    spec = integers.specs[integer_name(integers, value)]
    if spec.quant is None:
        raise TypeError(f"{value!r} is not stored in integers")
    ends = np.iinfo(spec.dtype)
    (scale,), (zero,) = spec.quant.scale, spec.quant.zero_point
    return scale * (int(ends.min) - zero), scale * (int(ends.max) - zero)


def _clipped(
    batches: Iterable[dict[Value, Array]], reach: Mapping[Value, tuple[float, float]]
) -> Iterator[dict[Value, Array]]:
    for batch in batches:
        yield {value: np.clip(array, *reach[value]) for value, array in batch.items()}


def _limits(layers: Sequence[Node], reach: Mapping[Value, tuple[float, float]]) -> dict[Value, tuple[float, float]]:
    """Between which numbers an output follows its bias."""
    limits = {None: (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
    result = {}
    for node in layers:
        low, high = limits[getattr(node.op, "activation", None)]
        lowest, highest = reach[node.output]
        result[node.output] = max(low, lowest), min(high, highest)
    return result


def _means(
    batches: Iterable[dict[Value, Array]], limits: Mapping[Value, tuple[float, float]]
) -> dict[Value, tuple[Array, Array]]:
    """The mean of each channel of some values, and the share of its numbers that lie strictly between limits."""
    totals: dict[Value, Array] = {}
    counts: dict[Value, int] = {}
    for batch in batches:
        for value, array in batch.items():
            rows = array.reshape(-1, array.shape[-1])
            low, high = limits.get(value, (-np.inf, np.inf))
            inside = ((rows > low) & (rows < high)).sum(axis=0)
            totals[value] = totals.get(value, 0.0) + np.stack([rows.sum(axis=0, dtype=np.float64), inside])
            counts[value] = counts.get(value, 0) + len(rows)
    return {value: (total[0] / counts[value], total[1] / counts[value]) for value, total in totals.items()}
