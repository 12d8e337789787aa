"""Which layers lose what in integers: a report, and the rung that leaves the worst ones on real numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import OUTPUT
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.layer_outputs import integer_name, outputs_of
from edge_sdk.quantization.rules import SAME_PARAMETERS, precision_of, stored_types
from edge_sdk.quantization.scheme import LayerPrecision
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

BINS = 32
ORDERING_BATCHES = 4
"""On how many batches of images layers are put in order: the network runs once for each of them."""
LOGITS = Value(OUTPUT)
Reach = tuple[float, float, int]
"""The smallest and the largest real number of a type, and in how many steps."""


@dataclass(frozen=True)
class LayerReport:
    """How well the integers of one node's output stand for its real numbers.

    Attributes:
        value: The node's output.
        op: Its operator.
        precision: "int8" or "int16", or "float32" where it computes on real numbers.
        signal_to_noise: 10 · log₁₀(Σ y² / Σ (ŷ - y)²) in decibels; infinite without any difference.
        cosine: Σ y · ŷ / √(Σ y² · Σ ŷ²).
        low: The smallest number that the stored integers reach.
        high: The largest one.
        histogram: How many real numbers fall into each of 32 equal parts from `low` to `high`.
        clipped: The share of real numbers below `low` or above `high`.
        sensitivity: The relative error of the logits when this node alone computes on integers; None if not asked for.
        share: Its part of the sum of the squares of all nodes' sensitivities.
    """

    value: str
    op: str
    precision: str
    signal_to_noise: float
    cosine: float
    low: float
    high: float
    histogram: tuple[int, ...]
    clipped: float
    sensitivity: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class SensitivityReport:
    """All nodes in execution order, and the relative error of the logits of the whole integer graph."""

    layers: tuple[LayerReport, ...]
    error: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values; an infinite ratio is None."""
        result = dataclasses.asdict(self)
        for layer in result["layers"]:
            layer["histogram"] = list(layer["histogram"])
            if not np.isfinite(layer["signal_to_noise"]):
                layer["signal_to_noise"] = None
        return result

    def table(self) -> str:
        """Return the report as text, a line a node."""
        width = max((len(layer.value) for layer in self.layers), default=5)
        lines = [
            f"{'layer':{width}}  {'operator':18} {'SQNR dB':>7} {'cosine':>8} {'clipped':>7} {'alone':>7} {'share':>6}"
        ]
        for layer in self.layers:
            alone = "" if layer.sensitivity is None else f"{layer.sensitivity:.2%}"
            share = "" if layer.share is None else f"{layer.share:.0%}"
            lines.append(
                f"{layer.value:{width}}  {layer.op:18} {layer.signal_to_noise:7.1f} {layer.cosine:8.5f} "
                f"{layer.clipped:7.2%} {alone:>7} {share:>6}"
            )
        return "\n".join([*lines, f"logits: relative error {self.error:.2%}"])


def signal_to_noise(real: Array, approximated: Array) -> float:
    """Return 10 · log₁₀(Σ y² / Σ (ŷ - y)²), in decibels; infinite when they are equal."""
    statistics = _Statistics()
    statistics.add(real, approximated, None)
    return statistics.signal_to_noise


def report_layers(candidate: Candidate, images: Iterable[Array], *, sensitivity: bool = True) -> SensitivityReport:
    """Compare every node's integers with the float network's numbers, on preprocessed images.

    The noise of a node is what it and all nodes before it cause. `sensitivity` also runs the network once for each
    convolution and dense layer, sum and product, with that node alone on integers: its own part of the final error.

    Raises:
        UsageError: the candidate was not observed.
        DataError: there is no image.
    """
    graph = candidate.graph
    integers, arrays = integer_graph(candidate, "float32")
    values = [value for node in graph.nodes for value in node.outputs]
    stored = {value: integer_name(integers, value) for value in values}
    statistics = {value: _Statistics() for value in values}
    float_batches = outputs_of(graph, candidate.floats, values, images)
    integer_batches = outputs_of(integers, arrays, list(stored.values()), images)
    for real, approximated in zip(float_batches, integer_batches, strict=True):
        for value in values:
            reach = _reach(candidate, value)
            statistics[value].add(real[value], approximated[stored[value]], reach)
    alone = sensitivities(candidate, images) if sensitivity else {}
    total = sum(error**2 for error in alone.values())
    layers = [
        _report(candidate, node, value, statistics[value], alone.get(node.outputs[0]), total)
        for node in graph.nodes
        for value in node.outputs
    ]
    return SensitivityReport(tuple(layers), statistics[LOGITS].relative_error)


def sensitivities(candidate: Candidate, images: Iterable[Array]) -> dict[Value, float]:
    """Return, for each node that computes on integers, the relative error of the logits when it alone does.

    √(Σ (ŷ - y)² / Σ y²) over all images, all other nodes on real numbers. Nodes that only move numbers are left out:
    what they round is their neighbours' scale.
    """
    computing = [node for node in candidate.graph.nodes if _computes(candidate, node)]
    wanted = _logits(candidate.graph, candidate.floats, images)
    return {node.outputs[0]: _relative(_with_one(candidate, node), images, wanted) for node in computing}


def mixed_precision(candidate: Candidate, images: Iterable[Array], limit: float = 0.05) -> Candidate:
    """Return a candidate of which so many layers compute on real numbers that the error of the logits is below `limit`.

    They are taken in the order of their sensitivity, the worst first, and only as many as are needed; the error is
    √(Σ (ŷ - y)² / Σ y²) of the logits on `images`.

    Raises:
        UsageError: the candidate was not observed, or `limit` is not reached with all layers on real numbers.
        DataError: there is no image.
    """
    on_real = _OnRealNumbers(candidate, images)
    if on_real.error(0) <= limit:
        return candidate
    alone = sensitivities(candidate, images)
    on_real.order = sorted(alone, key=lambda value: (-alone[value], value))
    enough = on_real.fewest(limit, 0, len(alone))
    if enough is None:
        raise UsageError(
            f"mixed_precision: with all {len(alone)} layers on real numbers the logits still differ by "
            f"{on_real.error(len(alone)):.2%}, more than the limit of {limit:.2%}; the input alone is rounded: raise "
            "the limit"
        )
    return on_real.candidate(enough)


def halved_errors(candidate: Candidate, images: Iterable[Array]) -> Iterator[Candidate]:
    """Yield candidates with more and more layers on real numbers: as many as halve the error of the logits, again and
    again.

    The order is that of `mixed_precision`, with sensitivities on some of the images, computed once; the error is on all
    of them. The last candidate has half of its layers on real numbers, which is no 8-bit network any more.

    Raises:
        UsageError: the candidate was not observed.
        DataError: there is no image.
    """
    on_real = _OnRealNumbers(candidate, images)
    alone = sensitivities(candidate, on_real.some(ORDERING_BATCHES))
    on_real.order = sorted(alone, key=lambda value: (-alone[value], value))
    most, count, limit = len(alone) // 2, 0, on_real.error(0)
    while count < most:
        limit /= 2
        enough = on_real.fewest(limit, count, most)
        if enough is None:
            enough = most
        if enough > count:
            count = enough
            yield on_real.candidate(count)


class _OnRealNumbers:
    """A candidate with the first layers of an order on real numbers, and the error of its logits."""

    def __init__(self, candidate: Candidate, images: Iterable[Array]) -> None:
        self.order: Sequence[Value] = ()
        self._candidate, self._images = candidate, images
        self._wanted = [batch[LOGITS] for batch in outputs_of(candidate.graph, candidate.floats, [LOGITS], images)]
        self._errors: dict[int, float] = {}

    def some(self, batches: int) -> list[Array]:
        """Return so many batches of the images, taken evenly."""
        total = len(self._wanted)
        chosen = {index * total // batches for index in range(batches)}
        return [batch for index, batch in enumerate(self._images) if index in chosen]

    def candidate(self, count: int) -> Candidate:
        """Return the candidate with the first `count` layers on real numbers."""
        layers = {**self._candidate.scheme.layers, **_on_floats(self.order[:count])}
        return _with_layers(self._candidate, layers) if count else self._candidate

    def error(self, count: int) -> float:
        """Return √(Σ (ŷ - y)² / Σ y²) of the logits with the first `count` layers on real numbers."""
        if count not in self._errors:
            self._errors[count] = _relative(self.candidate(count), self._images, np.concatenate(self._wanted))
        return self._errors[count]

    def fewest(self, limit: float, too_few: int, most: int) -> int | None:
        """Return the smallest count above `too_few` whose error is within the limit, or None if `most` are too few.

        Errors are taken to fall with the count: one more layer may raise them a little, and is then found too few.
        """
        if self.error(too_few) <= limit:
            return too_few
        step = 1
        # Twice as many more each time until it is enough, then the fewest of that range by halving.
        while self.error(enough := min(too_few + step, most)) > limit:
            if enough == most:
                return None
            too_few, step = enough, 2 * step
        while enough - too_few > 1:
            middle = (enough + too_few) // 2
            if self.error(middle) <= limit:
                enough = middle
            else:
                too_few = middle
        return enough


class _Statistics:
    """Sums over batches of real numbers and of what stands for them."""

    def __init__(self) -> None:
        self._signal = self._noise = self._product = self._power = 0.0
        self._count = self._clipped = 0
        self.histogram = np.zeros(BINS, np.int64)

    def add(self, real: Array, approximated: Array, reach: Reach | None) -> None:
        y, found = (array.astype(np.float64).ravel() for array in (real, approximated))
        self._signal += float(y @ y)
        self._noise += float(np.sum(np.square(found - y)))
        self._product += float(y @ found)
        self._power += float(found @ found)
        self._count += len(y)
        if reach is not None:
            low, high, steps = reach
            half = (high - low) / steps / 2
            self._clipped += int(np.sum((y < low - half) | (y > high + half)))
            self.histogram += np.histogram(y, BINS, (low, high))[0]

    @property
    def signal_to_noise(self) -> float:
        if self._noise == 0:
            return float("inf")
        return float(10 * np.log10(self._signal / self._noise)) if self._signal else float("-inf")

    @property
    def cosine(self) -> float:
        both = self._signal * self._power
        return self._product / float(np.sqrt(both)) if both else float(self._signal == self._power)

    @property
    def relative_error(self) -> float:
        return float(np.sqrt(self._noise / self._signal)) if self._signal else float(self._noise > 0)

    @property
    def clipped(self) -> float:
        return self._clipped / max(self._count, 1)


def _reach(candidate: Candidate, value: Value) -> Reach:
    """The smallest and largest real number that an activation's type reaches, and in how many steps."""
    quant, stored = candidate.activations[value], stored_types(candidate.graph, candidate.scheme)[value]
    scale, zero, limits = quant.scale[0], quant.zero_point[0], np.iinfo(stored)
    return scale * (int(limits.min) - zero), scale * (int(limits.max) - zero), int(limits.max) - int(limits.min)


def _report(
    candidate: Candidate, node: Node, value: Value, statistics: _Statistics, alone: float | None, total: float
) -> LayerReport:
    low, high, _ = _reach(candidate, value)
    return LayerReport(
        value=value,
        op=node.op.name,
        precision=candidate.scheme.layers.get(node.outputs[0], candidate.scheme.activations),
        signal_to_noise=statistics.signal_to_noise,
        cosine=statistics.cosine,
        low=low,
        high=high,
        histogram=tuple(int(count) for count in statistics.histogram),
        clipped=statistics.clipped,
        sensitivity=alone,
        share=None if alone is None or total == 0 else alone**2 / total,
    )


def _computes(candidate: Candidate, node: Node) -> bool:
    return not isinstance(node.op, SAME_PARAMETERS) and precision_of(node, candidate.scheme) != "float32"


def _with_one(candidate: Candidate, alone: Node) -> Candidate:
    others = [n.outputs[0] for n in candidate.graph.nodes if n.outputs[0] != alone.outputs[0]]
    return _with_layers(candidate, _on_floats(others))


def _on_floats(values: Iterable[Value]) -> dict[Value, LayerPrecision]:
    return dict.fromkeys(values, "float32")


def _with_layers(candidate: Candidate, layers: Mapping[Value, LayerPrecision]) -> Candidate:
    # Layers of 16 bits in a network of 8 stay so: as good as real, and their results have scales of 16 bits.
    scheme = candidate.scheme
    if scheme.activations == "int8":
        layers = {**layers, **{value: named for value, named in scheme.layers.items() if named == "int16"}}
    return dataclasses.replace(candidate, scheme=dataclasses.replace(scheme, layers=layers))


def _logits(graph: Graph, workspace: Workspace, images: Iterable[Array]) -> Array:
    return np.concatenate([batch[LOGITS] for batch in outputs_of(graph, workspace, [LOGITS], images)])


def _relative(candidate: Candidate, images: Iterable[Array], wanted: Array) -> float:
    statistics = _Statistics()
    statistics.add(wanted, _logits(*integer_graph(candidate, "float32"), images), None)
    return statistics.relative_error
