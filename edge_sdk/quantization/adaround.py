"""AdaRound: which weights are rounded up and which down is learned from what their layer makes of images.

Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020
(https://arxiv.org/abs/2004.10568).
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Node
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.layer_outputs import integer_node, weighted_layers
from edge_sdk.quantization.layer_samples import Samples, Sampling, float_targets, integer_inputs
from edge_sdk.quantization.parameters import along_axis, largest_weight, round_weights
from edge_sdk.spec import Array, QuantParams

STRETCH = (-0.1, 1.1)  # γ and ζ of the rectified sigmoid, equation 23
EXPONENTS = (20.0, 2.0)  # of the regulariser, from the first step to the last
WARM_UP = 0.2  # the share of the steps without regulariser
BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True)
class Rounding:
    """How roundings are learned.

    Attributes:
        steps: Steps of Adam a layer.
        batch: How many of a layer's rows a step sees.
        learning_rate: Of Adam, on numbers whose sigmoid says how far a weight is rounded up.
        regulariser: How much indecision costs at the end, where 1 is what rounding to nearest costs.
        sampling: How many rows are kept, and the seed.
    """

    steps: int = 600
    batch: int = 256
    learning_rate: float = 0.02
    regulariser: float = 30.0
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"rounding: {name} must be at least 1, found {getattr(self, name)}")


DEFAULT = Rounding()
DEEPEST = 2304
"""Numbers that an output may depend on for its roundings to be turned over one at a time, which takes the square of it
in memory and as long again."""


def round_adaptively(candidate: Candidate, images: Iterable[Array], *, rounding: Rounding = DEFAULT) -> Candidate:
    """Return a candidate whose weights are stored as the integers that change the layers' results least.

    Layer by layer: what the integer graph, with the layers before already rounded, hands to the layer, and what the
    float network makes at the same place. The weights go up or down from where they lie, never further. An output
    channel for which nearest rounding did better on the rows keeps it.

    Raises:
        UsageError: the candidate was not observed.
        DataError: there is no image.
    """
    layers = _layers(candidate)
    if not layers:
        return candidate
    targets = float_targets(candidate.graph, candidate.workspace, layers, images, rounding.sampling)
    decided = dict(candidate.rounded)
    for node in layers:
        current = dataclasses.replace(candidate, rounded=decided)
        samples = integer_inputs(*integer_graph(current, "float32"), node, targets[node.output], images)
        weights = candidate.workspace[node.inputs[1]]
        bias = candidate.workspace[node.inputs[2]] if len(node.inputs) == 3 else None
        quant = candidate.decisions.weight(node, weights)
        decided[node.inputs[1]] = learn_rounding(node, weights, bias, quant, samples, rounding)
    return dataclasses.replace(candidate, rounded=decided)


def learn_rounding(
    node: Node, weights: Array, bias: Array | None, quant: QuantParams, samples: Samples, rounding: Rounding = DEFAULT
) -> Array:
    """Return the int8 weights of one layer, learned from rows of its inputs and the outputs wanted of them."""
    scale = along_axis(quant.scale, quant.axis, weights.ndim)
    scales = samples.as_matrices(np.broadcast_to(scale, weights.shape))
    exact = samples.as_matrices(weights) / scales
    nearest = samples.as_matrices(round_weights(weights, quant)).astype(np.float32)
    offset = np.zeros(samples.targets.shape[1], np.float32) if bias is None else bias.astype(np.float32)
    problem = _Problem(samples, getattr(node.op, "activation", None), scales, offset, largest_weight(quant.bits))
    largest = problem.largest
    learned = np.clip(np.floor(exact) + _learn(problem, exact, nearest, rounding), -largest, largest)
    best = nearest
    for start in (nearest, learned):
        for stored in (start, problem.descended(start, exact)):
            better = problem.errors(stored) < problem.errors(best)
            best = np.where(samples.channels(better), stored, best)
    return samples.as_weights(best).astype(np.int8)


def _layers(candidate: Candidate) -> list[Node]:
    """The layers that compute on integers, and whose weights are theirs alone."""
    integers, _ = integer_graph(candidate, "float32")
    return [
        node
        for node in weighted_layers(candidate.graph)
        if integer_node(integers, node) is not None and len(candidate.graph.consumers(node.inputs[1])) == 1
    ]


@dataclass(frozen=True)
class _Problem:
    """‖f(w · x + b) - y‖² of a layer with activation f, over rows; weights are integers times `scales`."""

    samples: Samples
    activation: str | None
    scales: Array
    bias: Array
    largest: int

    def errors(self, stored: Array) -> Array:
        """Return the mean square error of every output channel over all rows."""
        difference, _ = self._difference(stored, slice(None))
        return np.asarray(np.mean(np.square(difference, dtype=np.float64), axis=0))

    def gradient(self, stored: Array, rows: Array) -> Array:
        """Return the gradient of the mean over rows of the error, summed over channels, for the integers."""
        difference, follows = self._difference(stored, rows)
        gradient = self.samples.weight_gradient(difference * follows * np.float32(2 / len(rows)), rows)
        return gradient * self.scales

    def descended(self, stored: Array, exact: Array) -> Array:
        """Return integers after turning over one rounding of a channel at a time, the most useful first.

        A relaxation ends near a minimum, not in one. Σ (e + δ x_j)² - Σ e² = δ² G_jj + 2 δ Σ e x_j, with G = xᵀ x:
        exact without an activation, and else a proposal that is taken where the true error is smaller. Layers that read
        more than DEEPEST numbers keep what they have: their G alone would be gigabytes.
        """
        if stored.shape[2] > DEEPEST:
            return stored
        low = np.maximum(np.floor(exact), -self.largest)
        high = np.minimum(np.floor(exact) + 1, self.largest)
        current = stored.copy()
        gram = self.samples.inputs.transpose(0, 2, 1) @ self.samples.inputs  # (groups, depth, depth)
        difference, follows = self._difference(current, slice(None))
        slopes = self.samples.weight_gradient(difference * follows, slice(None)) * self.scales
        share = self.samples.channels(follows.mean(axis=0, dtype=np.float32))
        curvature = np.diagonal(gram, axis1=1, axis2=2)[:, np.newaxis] * share * self.scales**2
        groups, outputs, depth = current.shape
        group, output = np.indices((groups, outputs))
        for _ in range(depth):
            change = low + high - 2 * current
            gain = change**2 * curvature + 2 * change * slopes
            best = gain.argmin(axis=2)
            step = np.where(gain[group, output, best] < 0, change[group, output, best], 0)
            if not step.any():
                break
            current[group, output, best] += step
            moved = (step * self.scales[group, output, best])[..., np.newaxis] * gram[group, best]
            slopes = slopes + moved * share * self.scales
        return current

    def _difference(self, stored: Array, rows: Array | slice) -> tuple[Array, Array]:
        y = self.samples.products(stored * self.scales, rows) + self.bias
        follows = np.ones(y.shape, bool)
        if self.activation is not None:
            high = 6.0 if self.activation == "relu6" else np.inf
            follows = (y > 0) & (y < high)
            y = np.clip(y, 0, high)
        return y - self.samples.targets[rows], follows


def _learn(problem: _Problem, exact: Array, nearest: Array, rounding: Rounding) -> Array:
    """Return 1 for each weight that is rounded up, else 0."""
    low, high = STRETCH
    fraction = exact - np.floor(exact)
    v = -np.log((high - low) / (fraction - low) - 1).astype(np.float32)
    first, second = np.zeros_like(v), np.zeros_like(v)
    random = np.random.default_rng((rounding.sampling.seed, zlib.crc32(nearest.tobytes())))
    # In units of what rounding to nearest costs, so that one regulariser fits layers of any magnitude.
    unit = float(problem.errors(nearest).sum())
    if unit == 0:
        return np.asarray(np.round(fraction), np.float32)
    floor, rows = np.floor(exact).astype(np.float32), len(problem.samples.targets)
    for step in range(rounding.steps):
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * (high - low) + low
        up = np.clip(stretched, 0, 1)
        drawn = random.integers(0, rows, min(rounding.batch, rows))
        gradient = problem.gradient(floor + up, drawn) / np.float32(unit)
        progress = (step / rounding.steps - WARM_UP) / (1 - WARM_UP)
        if progress >= 0:
            gradient += _regulariser_gradient(up, progress) * np.float32(rounding.regulariser / v.size)
        gradient *= (high - low) * sigmoid * (1 - sigmoid) * ((stretched > 0) & (stretched < 1))
        first += (1 - BETAS[0]) * (gradient - first)
        second += (1 - BETAS[1]) * (np.square(gradient) - second)
        mean, square = first / (1 - BETAS[0] ** (step + 1)), second / (1 - BETAS[1] ** (step + 1))
        v -= np.float32(rounding.learning_rate) * mean / (np.sqrt(square) + EPSILON)
    return (v > 0).astype(np.float32)


def _regulariser_gradient(up: Array, progress: float) -> Array:
    """Of Σ 1 - |2h - 1|^β, whose exponent falls along half a cosine."""
    exponent = EXPONENTS[1] + (EXPONENTS[0] - EXPONENTS[1]) * (1 + np.cos(np.pi * progress)) / 2
    from_half = 2 * up - 1
    return np.asarray(-2 * exponent * np.sign(from_half) * np.abs(from_half) ** (exponent - 1), np.float32)
