"""Adaptive rounding: the integers of a weight are chosen by what its layer makes of images, not one by one.

What is wanted of a layer is what AdaRound wants: that it makes of the integer network's numbers what the float network
makes at the same place (Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for
Post-Training Quantization", 2020, https://arxiv.org/abs/2004.10568, section 4). How it is found is another way, that of
`error_feedback`: gradients of a relaxation took ten times as long, and came no nearer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.error_feedback import Problem, descended, fed_back
from edge_sdk.quantization.frontier import Frontier
from edge_sdk.quantization.layer_outputs import integer_name, integer_node, weighted_layers
from edge_sdk.quantization.layer_samples import Samples, Sampling, float_targets, samples_of
from edge_sdk.quantization.parameters import along_axis, largest_weight, round_weights
from edge_sdk.spec import Array, QuantParams


@dataclass(frozen=True)
class Rounding:
    """How roundings are chosen.

    Attributes:
        ridge: What a step away from the float weight costs, as a share of what it changes the output by itself: the
            more, the less is learned of how inputs go together, and of what is only chance in few images.
        sweeps: How often all weights of a layer are looked at again.
        sampling: How many rows are kept, and the seed.
    """

    ridge: float = 0.2
    sweeps: int = 3
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.sweeps < 0:
            raise UsageError(f"rounding: sweeps must be at least 0, found {self.sweeps}")
        if not 0 < self.ridge < np.inf:
            raise UsageError(f"rounding: ridge must be above 0, found {self.ridge}")


DEFAULT = Rounding()


def round_adaptively(candidate: Candidate, images: Iterable[Array], *, rounding: Rounding = DEFAULT) -> Candidate:
    """Return a candidate whose weights are stored as the integers that change the layers' results least.

    Layer by layer: what the integer graph, with the layers before already rounded, hands to the layer, and what the
    float network makes at the same place. The weights go up or down from where they lie, never further. An output
    channel for which nearest rounding is better on the rows keeps it.

    Raises:
        UsageError: the candidate was not observed.
        DataError: there is no image.
    """
    integers, arrays = integer_graph(candidate, "float32")
    layers = _layers(candidate.graph, integers)
    if not layers:
        return candidate
    targets = float_targets(candidate.graph, candidate.floats, layers, images, rounding.sampling)
    frontier = Frontier(integers, images)
    decided = dict(candidate.rounded)
    for node in layers:
        x, stored = integers.producers[integer_name(integers, node.output)].inputs[:2]
        frontier.advance(arrays, x)
        seen = (batch[x] for batch in frontier.outputs(arrays, [x]))
        weights = candidate.workspace[node.inputs[1]]
        bias = candidate.workspace[node.inputs[2]] if len(node.inputs) == 3 else None
        samples = samples_of(node, weights.shape, targets.pop(node.output), seen)
        quant = candidate.decisions.weight(node, weights)
        arrays[stored] = decided[node.inputs[1]] = choose_integers(node, weights, bias, quant, samples, rounding)
    return dataclasses.replace(candidate, rounded=decided)


def choose_integers(
    node: Node, weights: Array, bias: Array | None, quant: QuantParams, samples: Samples, rounding: Rounding = DEFAULT
) -> Array:
    """Return the int8 weights of one layer, by rows of its inputs and the outputs wanted of them."""
    scales = np.broadcast_to(along_axis(quant.scale, quant.axis, weights.ndim), weights.shape)
    problem = Problem(
        samples.inputs,
        samples.targets,
        samples.matrices(weights),
        samples.matrices(scales)[:, :1],
        0.0 if bias is None else samples.channels(bias.astype(np.float32)),
        getattr(node.op, "activation", None),
        largest_weight(quant.bits),
        rounding.ridge,
    )
    nearest = samples.matrices(round_weights(weights, quant))
    return samples.as_weights(descended(problem, [nearest, fed_back(problem)], rounding.sweeps))


def _layers(graph: Graph, integers: Graph) -> list[Node]:
    """The layers that compute on integers, and whose weights are theirs alone."""
    return [
        node
        for node in weighted_layers(graph)
        if integer_node(integers, node) is not None and len(graph.consumers(node.inputs[1])) == 1
    ]
