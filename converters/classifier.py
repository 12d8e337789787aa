"""What every reader of a foreign network does last: its graph becomes a Model, an image classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from edge_sdk import __version__
from edge_sdk.builder import Builder
from edge_sdk.errors import FormatError
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD, INPUT, OUTPUT, Model
from edge_sdk.ops.activation import Relu, Relu6, Softmax
from edge_sdk.ops.control import Identity
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.shape import Flatten, Reshape, Squeeze
from edge_sdk.passes.dead_code import prune
from edge_sdk.passes.rewrite import rename
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

# What may stand between the classifier's own layer and its logits.
_AFTER_HEAD = (Flatten, GlobalAvgPool, Identity, Relu, Relu6, Reshape, Squeeze)
_WITHOUT_EFFECT = (Flatten, Identity, Reshape, Squeeze)


def as_classifier(
    graph: Graph,
    workspace: Workspace,
    *,
    image: Value,
    output: Value,
    source: str,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Model:
    """Return the part of `graph` from `image` (n, h, w, c) to `output` (n, …, classes) as a Model.

    A softmax at the end is left out, for a Model's output are logits. The layer that makes them gets the name
    `head`, so that it can be exchanged and trained alone. Where nothing is said about preprocessing, pixels are
    divided by 255, and the provenance says that this was assumed. `source` is the file, for messages.

    Raises:
        FormatError: the graph does not map photos to one score a class, or the labels are not one a class.
    """
    graph, workspace = prune(graph, workspace, outputs=(output,))
    others = [value for value in graph.inputs if value != image and graph.consumers(value)]
    if others:
        raise FormatError(f"{source}: beside the image, the network reads {', '.join(others)}; wanted one input")
    height, width, channels = _image_shape(graph, image, source)
    builder = Builder.extend(graph)
    logits = _flat(builder, _before_softmax(graph, output))
    spec = builder.spec(logits)
    if spec.rank != 2 or not spec.symbolic:
        raise FormatError(f"{source}: the output {output!r} is {spec}, wanted (n, classes) for a classifier")
    graph, workspace = prune(builder.build(logits), workspace, outputs=(logits,))
    renamed = {image: INPUT, logits: OUTPUT, **_head_names(graph, logits, spec.shape[1])}
    graph, workspace = rename_values(graph, workspace, {old: Value(new) for old, new in renamed.items()})
    graph = dataclasses.replace(graph, inputs=(Value(INPUT),))
    facts = dict(provenance or {})
    if preprocess is None:
        facts["preprocess"] = "assumed: pixels / 255"
        grey = channels == 1
        preprocess = Preprocess(
            (height, width), channels="grey" if grey else "rgb", mean=(0.0,) * channels, std=(255.0,) * channels
        )
    if labels is not None and len(labels) != spec.shape[1]:
        raise FormatError(f"{source}: the network has {spec.shape[1]} classes, but there are {len(labels)} labels")
    names = tuple(labels) if labels is not None else tuple(f"class {index}" for index in range(spec.shape[1]))
    return Model(graph, workspace, preprocess, names, {"source": source, **facts, "edge_sdk": __version__})


def _image_shape(graph: Graph, image: Value, source: str) -> tuple[int, int, int]:
    spec = graph.specs[image]
    if spec.rank != 4 or spec.dtype != "float32" or spec.shape[3] not in (1, 3):
        raise FormatError(f"{source}: the input {image!r} is {spec}, wanted photos f32[n,h,w,3] or f32[n,h,w,1]")
    return spec.shape[1], spec.shape[2], spec.shape[3]


def _before_softmax(graph: Graph, output: Value) -> Value:
    """What the final softmax reads, where there is one; it may be followed by changes of shape alone."""
    value = output
    while (node := graph.producer(value)) is not None:
        if isinstance(node.op, Softmax):
            return node.inputs[0]
        if not isinstance(node.op, _WITHOUT_EFFECT):
            break
        value = node.inputs[0]
    return output


def _flat(builder: Builder, value: Value) -> Value:
    """(n, 1, 1, classes) as (n, classes)."""
    spec = builder.spec(value)
    return builder.add(Flatten(), value) if spec.rank > 2 and all(size == 1 for size in spec.shape[1:-1]) else value


def _head_names(graph: Graph, logits: Value, classes: int) -> dict[Value, str]:
    """The parameters of the last dense layer, or convolution, that makes one score a class."""
    node = graph.producer(logits)
    while node is not None and isinstance(node.op, _AFTER_HEAD):
        node = graph.producer(node.inputs[0])
    if node is None or not isinstance(node.op, Linear | Conv2D):
        return {}
    own = node.inputs[1:3]
    fits = all(graph.specs[v].shape[0] == classes and graph.consumers(v) == (node,) for v in own)
    if not fits or not all(value in graph.params for value in own):
        return {}
    return dict(zip(own, (f"{HEAD}weight", f"{HEAD}bias"), strict=False))


def rename_values(graph: Graph, workspace: Workspace, names: Mapping[Value, Value]) -> tuple[Graph, Workspace]:
    """Return the graph with values under other names, and its arrays under theirs."""
    result, changed = rename(graph, names)
    arrays = Workspace()
    for value in graph.params:
        arrays[changed.get(value, value)] = workspace[value]
    return result, arrays
