"""What a layer saw and was to answer: rows drawn from all pixels of all images, as factors of one product."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.ops.linear import Linear
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class Sampling:
    """Which outputs of a layer are drawn.

    Attributes:
        rows: Outputs of a layer, of all channels each, that are drawn from all images and kept.
        rows_per_input: As many rows for each number that an output depends on, where that is more.
        memory: The most bytes that a layer's rows may take, and the outputs wanted of all layers; fewer rows are kept
            where they are long.
        seed: Of the choice.
    """

    rows: int = 4096
    rows_per_input: int = 4
    memory: int = 256 * 2**20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"rows": 1, "rows_per_input": 0, "memory": 1}.items():
            if getattr(self, name) < least:
                raise UsageError(f"sampling: {name} must be at least {least}, found {getattr(self, name)}")


@dataclass(frozen=True)
class Targets:
    """Outputs of a layer at places that were drawn.

    Attributes:
        places: For each batch, the drawn (image, row, column) of it, or the image alone for dense layers.
        outputs: The outputs there, (rows, k).
    """

    places: tuple[Array, ...]
    outputs: Array


@dataclass(frozen=True)
class Samples:
    """Rows of a layer's inputs and of the outputs wanted of them, by groups of output channels that see the same.

    Attributes:
        inputs: float32 (groups, rows, depth).
        targets: float32 (groups, rows, k / groups).
        shape: That of the weights.
        depthwise: Whether the weights are (1, r, s, k), k last.
    """

    inputs: Array
    targets: Array
    shape: tuple[int, ...]
    depthwise: bool

    def matrices(self, weights: Array) -> Array:
        """Return a view of weights as (groups, depth, k / groups), which the inputs can be multiplied by."""
        rows = np.moveaxis(weights, -1, 0) if self.depthwise else weights
        return rows.reshape(len(self.inputs), -1, self.inputs.shape[2]).transpose(0, 2, 1)

    def as_weights(self, matrices: Array) -> Array:
        """Return the inverse of `matrices`."""
        rows = matrices.transpose(0, 2, 1)
        if self.depthwise:
            rows = np.moveaxis(rows.reshape(self.shape[-1], *self.shape[:-1]), 0, -1)
        return np.ascontiguousarray(rows.reshape(self.shape))

    def channels(self, of_channels: Array) -> Array:
        """Return one number a channel as (groups, 1, k / groups)."""
        return of_channels.reshape(len(self.inputs), 1, -1)


def float_targets(
    graph: Graph, workspace: Workspace, layers: Sequence[Node], images: Iterable[Array], sampling: Sampling
) -> dict[Value, Targets]:
    """Draw places of every layer's output, the same ones for a seed, and return what the float network makes there."""
    random = {node.output: np.random.default_rng((sampling.seed, zlib.crc32(node.output.encode()))) for node in layers}
    sizes = [len(batch) for batch in images]
    total, before = sum(sizes), 0
    kept = _rows_kept(graph, layers, sampling)
    places: dict[Value, list[Array]] = {node.output: [] for node in layers}
    outputs: dict[Value, list[Array]] = {node.output: [] for node in layers}
    for batch in outputs_of(graph, workspace, list(places), images):
        count = len(next(iter(batch.values())))
        for node in layers:
            share = kept[node.output] * (before + count) // total - kept[node.output] * before // total
            array = batch[node.output]
            available = int(np.prod(array.shape[:-1]))
            flat = np.sort(random[node.output].permutation(available)[:share])
            places[node.output].append(np.stack(np.unravel_index(flat, array.shape[:-1]), axis=1))
            outputs[node.output].append(array.reshape(available, -1)[flat])
        before += count
    return {value: Targets(tuple(places[value]), np.concatenate(outputs[value])) for value in places}


def samples_of(node: Node, shape: tuple[int, ...], targets: Targets, inputs: Iterable[Array]) -> Samples:
    """Return what a layer with weights of a shape sees of batches of its input, at the places of its targets."""
    seen, done = np.empty((0, 0, 0), np.float32), 0
    for places, x in zip(targets.places, inputs, strict=True):
        rows = _patches(node, x, shape, places)
        if done == 0:
            seen = np.empty((len(rows), len(targets.outputs), rows.shape[2]), np.float32)
        seen[:, done : done + rows.shape[1]] = rows
        done += rows.shape[1]
    outputs = targets.outputs.reshape(done, len(seen), -1).transpose(1, 0, 2)
    return Samples(seen, np.ascontiguousarray(outputs), shape, isinstance(node.op, DepthwiseConv2D))


def _rows_kept(graph: Graph, layers: Sequence[Node], sampling: Sampling) -> dict[Value, int]:
    """How many rows of each layer are kept; all of them lose the same share where their outputs need too much."""
    wanted = {node.output: _rows_of_one(graph, node, sampling) for node in layers}
    size = sum(4 * rows * graph.specs[value].shape[-1] for value, rows in wanted.items())
    share = min(1.0, sampling.memory / size)
    return {value: max(1, int(rows * share)) for value, rows in wanted.items()}


def _rows_of_one(graph: Graph, node: Node, sampling: Sampling) -> int:
    shape = graph.specs[node.inputs[1]].shape
    repeated = (
        node.op.groups if isinstance(node.op, Conv2D) else shape[-1] if isinstance(node.op, DepthwiseConv2D) else 1
    )
    depth = shape[1] * shape[2] if isinstance(node.op, DepthwiseConv2D) else int(np.prod(shape[1:]))
    outputs = graph.specs[node.output].shape[-1]
    rows = max(sampling.rows, sampling.rows_per_input * depth)
    return max(1, min(rows, sampling.memory // (4 * (repeated * depth + outputs))))


def _patches(node: Node, x: Array, shape: tuple[int, ...], places: Array) -> Array:
    """The inputs of a layer at output places, as (groups, rows, depth)."""
    op = node.op
    if isinstance(op, Linear):
        return np.asarray(x.reshape(-1, x.shape[-1])[_flat(places, x.shape[:-1])][np.newaxis], np.float32)
    if not isinstance(op, Conv2D | DepthwiseConv2D):
        raise TypeError(f"{op.name} has no patches")
    kernel = (shape[1], shape[2])
    (top, bottom), (left, right) = resolve_padding(op.padding, (x.shape[1], x.shape[2]), kernel, op.stride, op.dilation)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    row = places[:, 1, np.newaxis] * op.stride[0] + np.arange(kernel[0]) * op.dilation[0]
    column = places[:, 2, np.newaxis] * op.stride[1] + np.arange(kernel[1]) * op.dilation[1]
    seen = padded[places[:, 0, np.newaxis, np.newaxis], row[:, :, np.newaxis], column[:, np.newaxis]]  # (n, r, s, c)
    if isinstance(op, DepthwiseConv2D):
        repeated = np.repeat(seen, shape[3] // x.shape[3], axis=3)
        return np.ascontiguousarray(np.moveaxis(repeated.reshape(len(seen), -1, shape[3]), 2, 0), np.float32)
    parts = seen.reshape(*seen.shape[:3], op.groups, -1)
    return np.ascontiguousarray(np.moveaxis(parts, 3, 0).reshape(op.groups, len(seen), -1), np.float32)


def _flat(places: Array, shape: tuple[int, ...]) -> Array:
    return np.asarray(np.ravel_multi_index(tuple(places.T), shape))
