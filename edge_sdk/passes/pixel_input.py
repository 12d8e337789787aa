"""pixel_input: photos enter a graph as bytes, a quarter of what there is to copy, and become numbers where it runs."""

from __future__ import annotations

import dataclasses

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT
from edge_sdk.ops.elementwise import Div, Sub
from edge_sdk.ops.shape import Cast
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array, Spec, Value
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
    shape = (1, 1, 1, preprocess.channel_count)
    cast, centred = Value(f"{INPUT}:cast"), Value(f"{INPUT}:centred")
    nodes = (
        Node(Cast("float32"), (PIXELS,), (cast,)),
        Node(Sub(), (cast, MEAN), (centred,)),
        Node(Div(), (centred, STD), (image,)),
        *graph.nodes,
    )
    specs = dict.fromkeys((image, cast, centred), spec) | dict.fromkeys((MEAN, STD), Spec(shape))
    changed = dataclasses.replace(
        graph,
        inputs=tuple(PIXELS if value == image else value for value in graph.inputs),
        params=(*graph.params, MEAN, STD),
        nodes=nodes,
        specs={**graph.specs, **specs, PIXELS: Spec(spec.shape, "uint8")},
    )
    verify(changed)
    arrays = {MEAN: preprocess.mean, STD: preprocess.std}
    return changed, {name: np.array(numbers, np.float32).reshape(shape) for name, numbers in arrays.items()}
