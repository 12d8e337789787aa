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
from edge_sdk.quantization.layer_outputs import integer_node, outputs_of
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class Sampling:
    """Which outputs of a layer are drawn.

    Attributes:
        rows: Outputs of a layer, of all channels each, that are drawn from all images and kept.
        memory: The most bytes that a layer's rows may take; fewer are kept where they are long.
        seed: Of the choice.
    """

    rows: int = 4096
    memory: int = 256 * 2**20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "memory"):
            if getattr(self, name) < 1:
                raise UsageError(f"sampling: {name} must be at least 1, found {getattr(self, name)}")


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
    """Rows of a layer's inputs and of the outputs wanted of them.

    Attributes:
        inputs: float32 (groups, rows, depth): the inputs that each group of output channels sees.
        targets: float32 (rows, k), channels in the layer's order.
        shape: That of the weights.
        depthwise: Whether the weights are (1, r, s, k), k last.
    """

    inputs: Array
    targets: Array
    shape: tuple[int, ...]
    depthwise: bool

    def as_matrices(self, weights: Array) -> Array:
        """Return weights as (groups, k / groups, depth)."""
        rows = np.moveaxis(weights, -1, 0) if self.depthwise else weights
        return rows.reshape(len(self.inputs), -1, self.inputs.shape[2])

    def as_weights(self, matrices: Array) -> Array:
        """Return the inverse of `as_matrices`."""
        if self.depthwise:
            return np.ascontiguousarray(np.moveaxis(matrices.reshape(self.shape[-1], *self.shape[:-1]), 0, -1))
        return matrices.reshape(self.shape)

    def channels(self, of_channels: Array) -> Array:
        """Return one number a channel in a shape that broadcasts against `as_matrices`."""
        return of_channels.reshape(len(self.inputs), -1, 1)

    def products(self, matrices: Array, rows: Array | slice) -> Array:
        """Return the sums of products (rows, k)."""
        products = self.inputs[:, rows] @ matrices.transpose(0, 2, 1)  # (groups, rows, k / groups)
        return products.transpose(1, 0, 2).reshape(products.shape[1], -1)

    def weight_gradient(self, gradient: Array, rows: Array | slice) -> Array:
        """Return the gradient of the weights (groups, k / groups, depth) from that of the products (rows, k)."""
        parts = gradient.reshape(len(gradient), len(self.inputs), -1).transpose(1, 2, 0)
        return parts @ self.inputs[:, rows]


def float_targets(
    graph: Graph, workspace: Workspace, layers: Sequence[Node], images: Iterable[Array], sampling: Sampling
) -> dict[Value, Targets]:
    """Draw places of every layer's output, the same ones for a seed, and return what the float network makes there."""
    random = {node.output: np.random.default_rng((sampling.seed, zlib.crc32(node.output.encode()))) for node in layers}
    sizes = [len(batch) for batch in images]
    total, before = sum(sizes), 0
    places: dict[Value, list[Array]] = {node.output: [] for node in layers}
    outputs: dict[Value, list[Array]] = {node.output: [] for node in layers}
    for batch in outputs_of(graph, workspace, list(places), images):
        count = len(next(iter(batch.values())))
        for node in layers:
            wanted = _rows_kept(graph, node, sampling)
            share = wanted * (before + count) // total - wanted * before // total
            array = batch[node.output]
            available = int(np.prod(array.shape[:-1]))
            flat = np.sort(random[node.output].permutation(available)[:share])
            places[node.output].append(np.stack(np.unravel_index(flat, array.shape[:-1]), axis=1))
            outputs[node.output].append(array.reshape(available, -1)[flat])
        before += count
    return {value: Targets(tuple(places[value]), np.concatenate(outputs[value])) for value in places}


def integer_inputs(
    integers: Graph, arrays: Workspace, node: Node, targets: Targets, images: Iterable[Array]
) -> Samples:
    """Return what the integer graph hands to a layer at the places of its targets."""
    stored = integer_node(integers, node)
    if stored is None:
        raise UsageError(f"{node.output!r} computes on real numbers; it has no integers to look at")
    return inputs_of(integers, arrays, stored.inputs[0], node, targets, images)


def inputs_of(
    graph: Graph, arrays: Workspace, value: Value, node: Node, targets: Targets, images: Iterable[Array]
) -> Samples:
    """Return what a layer sees of `value` at the places of its targets."""
    shape = graph.specs[node.inputs[1]].shape
    rows = [
        _patches(node, batch[value], shape, places)
        for places, batch in zip(targets.places, outputs_of(graph, arrays, [value], images), strict=True)
    ]
    return Samples(np.concatenate(rows, axis=1), targets.outputs, shape, isinstance(node.op, DepthwiseConv2D))


def _rows_kept(graph: Graph, node: Node, sampling: Sampling) -> int:
    shape = graph.specs[node.inputs[1]].shape
    repeated = (
        node.op.groups if isinstance(node.op, Conv2D) else shape[-1] if isinstance(node.op, DepthwiseConv2D) else 1
    )
    depth = shape[1] * shape[2] if isinstance(node.op, DepthwiseConv2D) else int(np.prod(shape[1:]))
    outputs = graph.specs[node.output].shape[-1]
    return max(1, min(sampling.rows, sampling.memory // (4 * (repeated * depth + outputs))))


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
