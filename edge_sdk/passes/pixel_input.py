"""pixel_input: photos enter a graph as bytes, a quarter of what there is to copy, and become numbers where it runs."""

from __future__ import annotations

import dataclasses

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT
from edge_sdk.ops.pixels import NormalisePixels
from edge_sdk.ops.shape import Cast
from edge_sdk.passes.rewrite import only_consumer
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import HALVES, Array, Spec, Value
from edge_sdk.verify import verify

PIXELS, MEAN, STD = (Value(f"{INPUT}:{name}") for name in ("pixels", "mean", "std"))


def pixel_input(graph: Graph, preprocess: Preprocess) -> tuple[Graph, dict[str, Array]]:
    """Return a graph that takes `PIXELS`, uint8 (n, h, w, c), in place of the photos `image`, and its new parameters.

    Channels come in the order of `preprocess.channels`. The numbers are those of `Preprocess.normalise` to the last
    bit: (float32(pixels) - mean) / std.

    Raises:
        GraphError: the graph does not take float32 photos.
    """
    image = graph.value(INPUT)
    spec = graph.specs[image]
    if image not in graph.inputs or spec.dtype != "float32":
        raise GraphError(f"graph {graph.name!r}: {image!r} is no input of float32 photos")
    per_channel = Spec((preprocess.channel_count,))
    normalised, rest = _as_read(graph, image)
    kept = {value: each for value, each in graph.specs.items() if value != image or value == normalised}
    changed = dataclasses.replace(
        graph,
        inputs=tuple(PIXELS if value == image else value for value in graph.inputs),
        params=(*graph.params, MEAN, STD),
        nodes=(Node(NormalisePixels(graph.specs[normalised].dtype), (PIXELS, MEAN, STD), (normalised,)), *rest),
        specs={**kept, MEAN: per_channel, STD: per_channel, PIXELS: Spec(spec.shape, "uint8")},
    )
    verify(changed)
    arrays = {MEAN: preprocess.mean, STD: preprocess.std}
    return changed, {name: np.array(numbers, np.float32) for name, numbers in arrays.items()}


def _as_read(graph: Graph, image: Value) -> tuple[Value, tuple[Node, ...]]:
    """The value in which nodes read the photos, and these: of 16 bits where a cast to that is all that reads them."""
    cast = only_consumer(graph, image)
    if cast is None or not isinstance(cast.op, Cast) or cast.op.dtype not in HALVES:
        return image, graph.nodes
    return cast.output, tuple(node for node in graph.nodes if node is not cast)
