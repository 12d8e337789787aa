"""Palettes: weights of few different values, of which a file may store a table and small indices (`edge.palettize`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import Model
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.fake_quantization import FakeQuantize
from edge_sdk.ops.linear import Linear
from edge_sdk.spec import Array, Value

PaletteBits = Literal[4, 6]
"""Of an index: 16 or 64 values a table."""
SMALLEST_WEIGHT = 2048
"""Weights of fewer elements stay as they are: they would save little."""
MOST_ROUNDS = 200

LAYERS = (Conv2D, ConvTranspose2D, DepthwiseConv2D, Linear)
"""Those whose weights get tables."""


@dataclass(frozen=True)
class Palettized:
    """A model whose weights have few different values, and the tables of them, (values,) ascending, by weight."""

    model: Model
    tables: Mapping[Value, Array]


def palettize(model: Model, bits: PaletteBits = 4) -> Palettized:
    """Return a model for inference whose layers' weights have 16 (`bits=4`) or 64 (`bits=6`) different values each.

    Batch norms are folded in first. The values of a layer are those that k-means chooses for its weights (Han et al.
    2016, "Deep compression", section 3); layers of fewer than 2,048 weights keep theirs. The model runs anywhere, in
    float32; `edge.export_coreml` with quantize="palette4" stores tables and indices. Nothing is trained.

    Raises:
        UsageError: other bits, or a model that was trained in 8-bit numbers.
    """
    if bits not in get_args(PaletteBits):
        raise UsageError(f"bits is {bits}, wanted 4 or 6: 16 or 64 values a table")
    if any(isinstance(node.op, FakeQuantize) for node in model.graph.nodes):
        raise UsageError(f"{model.name} was trained in 8-bit numbers, which are no palette; take the model before it")
    graph, workspace = model.inference
    arrays = workspace.restricted(graph)
    tables: dict[Value, Array] = {}
    for node in graph.nodes:
        weight = _weight(graph, node)
        if weight is None or weight in tables:
            continue
        table = k_means(arrays[weight].reshape(-1), 1 << bits)
        tables[weight], arrays[weight] = table, table[nearest(arrays[weight], table)]
    facts = {"bits": bits, "weights": len(tables)}
    provenance = {**model.provenance, "palette": facts}
    return Palettized(model.replace(graph=graph, workspace=arrays, provenance=provenance), tables)


def _weight(graph: Graph, node: Node) -> Value | None:
    """The weight of a layer that gets a table; None of other nodes, and where the weight is small or computed."""
    if not isinstance(node.op, LAYERS):
        return None
    weight = node.inputs[1]
    return weight if weight in graph.params and graph.specs[weight].elements >= SMALLEST_WEIGHT else None


def nearest(numbers: Array, table: Array) -> Array:
    """Return the index of the nearest value of an ascending table for each number; of two, the smaller."""
    table = table.astype(np.float64)
    return np.asarray(np.searchsorted((table[1:] + table[:-1]) / 2, numbers.astype(np.float64)))


def k_means(numbers: Array, count: int) -> Array:
    """Return `count` values, ascending, float32, whose squared distances to the numbers (n,) are small in sum.

    Lloyd's algorithm from three fixed starts (Lloyd 1982, "Least squares quantization in PCM"): quantiles, equal steps,
    and the middle between both; the best end counts. On a sorted line a cluster is an interval, so that a round takes
    two sums a cluster. Fewer numbers than values leave some values unused, which are the largest one again.
    """
    line = np.sort(numbers.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(line)])
    places = (np.arange(count) + 0.5) / count
    quantiles = line[np.minimum((places * len(line)).astype(int), len(line) - 1)]
    steps = line[0] + (line[-1] - line[0]) * places
    ends = [_rounds(line, sums, start) for start in (quantiles, steps, (quantiles + steps) / 2)]
    _, values = max(ends, key=lambda end: end[0])
    return np.concatenate([values, np.full(count - len(values), values[-1])]).astype(np.float32)


def _rounds(line: Array, sums: Array, start: Array) -> tuple[float, Array]:
    """Return how much less the squared distances are than those to 0, and the values, none of them unused."""
    values = np.unique(start)
    gain = -np.inf
    for _ in range(MOST_ROUNDS):
        borders = np.concatenate([[0], np.searchsorted(line, (values[1:] + values[:-1]) / 2), [len(line)]])
        borders = np.unique(borders)
        totals, counts = np.diff(sums[borders]), np.diff(borders)
        values, before = totals / counts, gain
        gain = float(np.sum(totals * values))
        if gain <= before:
            break
    return gain, values
