"""Structured pruning: a model with fewer channels, the least important ones removed (`edge.prune_channels`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from edge_sdk.compression.coupled_channels import CoupledChannels, coupled_channels
from edge_sdk.compression.importance import by_loss, by_magnitude
from edge_sdk.compression.remove_channels import remove_channels, without_channels
from edge_sdk.cost import multiply_adds, node_multiply_adds
from edge_sdk.errors import DataError, UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.ops.fake_quantization import FakeQuantize
from edge_sdk.spec import Array, Value

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

Measure = Literal["weights", "multiply-adds"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

MULTIPLE = 8
"""Layers keep a multiple of so many channels: kernels compute whole vectors."""


@dataclass(frozen=True)
class LayerChannels:
    """A layer's output channels in the whole network and in the smaller one; `reason` is why all had to stay."""

    layer: str
    before: int
    after: int
    reason: str | None = None


@dataclass(frozen=True)
class Pruned:
    """A smaller model, and what became of every layer.

    `weights` and `multiply_adds` (of one photo) are those of the whole network and of the smaller one.
    """

    model: Model
    layers: tuple[LayerChannels, ...]
    weights: tuple[int, int]
    multiply_adds: tuple[int, int]


def prune_channels(
    model: Model,
    keep: float = 0.5,
    of: Measure = "multiply-adds",
    data: Dataset | Path | str | None = None,
    *,
    multiple: int = MULTIPLE,
) -> Pruned:
    """Return the model with its least important channels removed, so that at most the share `keep` of its cost is left.

    The cost is the multiply-adds of one photo, or the number of weights. With labelled photos as `data` the channels go
    first that the loss would miss least for what they cost; without, every layer loses the same share, the filters of
    smallest absolute sum (edge_sdk/compression/importance.py). Layers keep a multiple of `multiple` channels. Batch
    norms stay: what is lost in accuracy is won back by `edge.fit`. The same arguments give the same bytes.

    Raises:
        UsageError: shares or measures that make no sense, or a network that cannot become so small.
        DataError: the photos have no labels, or none can be read.
    """
    if not 0 < keep <= 1:
        raise UsageError(f"keep is {keep:g}, wanted a share above 0 and up to 1, such as 0.5")
    if of not in MEASURES:
        raise UsageError(f"of is {of!r}, wanted one of {', '.join(MEASURES)}{suggestion(of, MEASURES)}")
    cost = _COSTS[of]
    most = keep * cost(model.graph)
    pruning = Pruning.of(model, of, None, multiple)
    least = cost(pruning.graph(pruning.smallest()))  # the same in any order: said before photos are looked at
    if least > most:
        raise UsageError(
            f"{model.name}: {keep:.0%} of its {of} cannot be reached; with {multiple} channels a layer "
            f"{least / cost(model.graph):.0%} are left"
        )
    if data is not None:
        pruning = pruning.ordered_by_loss(of, data)
    removed = pruning.largest(lambda candidate: cost(pruning.graph(candidate)) <= most)
    return pruning.apply(pruning.smallest() if removed is None else removed)


@dataclass(frozen=True)
class Pruning:
    """A model's channels in the order in which they go; `origin` is the digest that the whole model's file states."""

    model: Model
    origin: str
    coupled: CoupledChannels
    scores: Array
    order: Array
    multiple: int
    criterion: str

    @classmethod
    def of(cls, model: Model, of: Measure, data: Dataset | Path | str | None, multiple: int = MULTIPLE) -> Pruning:
        """Return the order in which a model's channels go; the arguments are those of `prune_channels`."""
        from edge_sdk.edge_file import digest

        if multiple < 1:
            raise UsageError(f"multiple is {multiple}, wanted 1 or more")
        check_prunable(model)
        coupled = coupled_channels(model.graph)
        scores = by_magnitude(model.graph, model.workspace, coupled)
        pruning = cls(model, digest(model), coupled, scores, _order(coupled, scores), multiple, "magnitude")
        return pruning if data is None else pruning.ordered_by_loss(of, data)

    def ordered_by_loss(self, of: Measure, data: Dataset | Path | str) -> Pruning:
        """Return the same channels in the order in which the loss on labelled photos would miss them for their cost."""
        losses = by_loss(self.model, self.coupled, labelled_photos(self.model, data))
        scores = losses / _savings(self.model.graph, self.coupled, of)
        return replace(self, scores=scores, order=_order(self.coupled, scores), criterion="loss")

    def largest(self, fits: Callable[[Array], bool]) -> Array | None:
        """Return which channels go from the largest network that fits, or None where not even the smallest does.

        `fits` is asked about channels that go, (channels,) of truth values.
        """
        low, high = 0, len(self.order)
        if not fits(self.smallest()):
            return None
        while low < high:
            middle = (low + high) // 2
            if fits(self.removed(middle)):
                high = middle
            else:
                low = middle + 1
        return self.removed(high)

    def smallest(self) -> Array:
        """Return which channels go from the network with as few of them as any may have."""
        return self.removed(len(self.order))

    def graph(self, removed: Array) -> Graph:
        """Return the graph without some channels."""
        return without_channels(self.model.graph, self.coupled, removed)

    def removed(self, count: int) -> Array:
        """Return which channels go where the first `count` do, but for those that a whole multiple needs."""
        removed = np.zeros(self.coupled.count, bool)
        removed[self.order[:count]] = True
        for group in self.coupled.groups:
            best = group.channels[np.argsort(-self.scores[group.channels], kind="stable")]
            step = self.multiple // math.gcd(self.multiple, group.width)
            left = int((~removed[best]).sum())
            removed[best[: max(1, math.ceil(left / step)) * step]] = False
        for axes in self.coupled.places.values():
            for ids in axes.values():
                if len(ids) and removed[ids].all():
                    removed[ids[np.argmax(self.scores[ids])]] = False
        return removed

    def apply(self, removed: Array) -> Pruned:
        """Return the smaller model; its provenance says that it is one."""
        whole = self.model
        graph, workspace = remove_channels(whole.graph, whole.workspace, self.coupled, removed)
        layers = _layers(whole.graph, graph, self.coupled)
        weights = _weights(whole.graph), _weights(graph)
        products = _multiply_adds(whole.graph), _multiply_adds(graph)
        facts: dict[str, Any] = {
            "criterion": self.criterion, "multiple": self.multiple, "weights": list(weights),
            "multiply_adds": list(products), "model_sha256": self.origin,
        }  # fmt: skip
        model = whole.replace(graph=graph, workspace=workspace, provenance={**whole.provenance, "pruning": facts})
        return Pruned(model, layers, weights, products)


def _order(coupled: CoupledChannels, scores: Array) -> Array:
    """The channels that may go, the least important first."""
    channels = np.concatenate([np.zeros(0, int), *(group.channels for group in coupled.groups)])
    return np.asarray(channels[np.argsort(scores[channels], kind="stable")])


def check_prunable(model: Model) -> None:
    """Raise UsageError for a model that was trained in 8-bit numbers: its scales are those of the channels it has."""
    if any(isinstance(node.op, FakeQuantize) for node in model.graph.nodes):
        raise UsageError(f"{model.name} was trained in 8-bit numbers; prune the model that this training began with")


def _weights(graph: Graph) -> int:
    return sum(graph.specs[value].elements for value in graph.params)


def _multiply_adds(graph: Graph) -> int:
    return multiply_adds(graph.bind(1))


_COSTS: dict[Measure, Callable[[Graph], int]] = {"weights": _weights, "multiply-adds": _multiply_adds}


def _savings(graph: Graph, coupled: CoupledChannels, of: Measure) -> Array:
    """Return what the network costs less without each channel alone, all others there, (channels,); at least 1."""
    savings = np.zeros(coupled.count)
    bound = graph.bind(1)
    costs: list[tuple[Value, int]] = [(value, graph.specs[value].elements) for value in graph.params]
    if of == "multiply-adds":
        costs = [(node.inputs[1], node_multiply_adds(bound, node)) for node in bound.nodes if len(node.inputs) > 1]
    for value, cost in costs:
        for ids in coupled.places.get(value, {}).values():
            np.add.at(savings, ids, cost / max(len(ids), 1))
    return np.maximum(savings, 1)


def _layers(whole: Graph, smaller: Graph, coupled: CoupledChannels) -> tuple[LayerChannels, ...]:
    outputs = {*coupled.kept, *(output for group in coupled.groups for output in group.writers)}
    return tuple(
        LayerChannels(
            value, whole.specs[value].shape[-1], smaller.specs[value].shape[-1], coupled.kept.get(Value(value))
        )
        for node in whole.nodes
        for value in node.outputs
        if value in outputs
    )


def labelled_photos(model: Model, data: Dataset | Path | str) -> Dataset:
    """Return the training photos of a folder, or a data set; raises DataError where one has no label of the model."""
    from edge_sdk.data.class_names import under_labels
    from edge_sdk.data.folder import ImageFolder
    from edge_sdk.data.source import labelled

    scanned = ImageFolder.scan(data, labels=model.labels).train if isinstance(data, str | Path) else data
    photos = under_labels(scanned, model.labels)
    if not labelled(photos):
        raise DataError("pruning by loss needs photos with labels: one sub-folder a class")
    return photos
