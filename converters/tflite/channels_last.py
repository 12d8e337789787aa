"""Photos as they are kept here, (n, h, w, c), for a network that takes them as (n, c, h, w), as PyTorch's do."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.shape import Transpose
from edge_sdk.spec import Spec, Value

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_COLOURS = (1, 3)


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Tell whether a shape is that of photos (n, 1 or 3, h, w)."""
    return len(shape) == 4 and shape[1] in _COLOURS and shape[3] not in _COLOURS


def channels_last(graph: Graph, image: Value) -> tuple[Graph, Value]:
    """Return a graph that takes the photos (n, h, w, c), and its input.

    A transposition at the start, with which converters from PyTorch begin, goes; other readers of the photos get them
    transposed.
    """
    spec = graph.specs[image]
    photos = Value(f"{image}.channels_last")
    n, c, h, w = spec.shape
    specs = {**graph.specs, photos: Spec((n, h, w, c), spec.dtype, spec.quant)}
    turned = {node.output for node in graph.consumers(image) if node.op == Transpose(_TO_LAST)}
    nodes = [
        dataclasses.replace(node, inputs=tuple(photos if value in turned else value for value in node.inputs))
        for node in graph.nodes
        if turned.isdisjoint(node.outputs)
    ]
    if any(image in node.inputs for node in nodes) or image in graph.outputs:
        nodes.insert(0, Node(Transpose(_TO_FIRST), (photos,), (image,)))
    else:
        del specs[image]
    for value in turned:
        del specs[value]
    inputs = tuple(photos if value == image else value for value in graph.inputs)
    outputs = tuple(photos if value in turned else value for value in graph.outputs)
    return dataclasses.replace(graph, inputs=inputs, nodes=tuple(nodes), outputs=outputs, specs=specs), photos
