"""with_labels: a model for other classes, whose classifier starts anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edge_sdk import initializers
from edge_sdk.errors import GraphError, ShapeError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD, OUTPUT, Model
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace

DEVIATION = 0.01
"""Of the first weights of a classifier, as of the zoo's networks."""


def with_labels(model: Model, labels: Sequence[str], seed: int = 0) -> Model:
    """Return `model` for the classes `labels`; all weights but those of its head are the same arrays.

    Raises:
        UsageError: there are no labels.
        GraphError: the model has no layer called `head` that can be exchanged.
    """
    if not labels:
        raise UsageError("labels: wanted at least one class")
    graph, heads = model.graph, [value for value in model.graph.params if value.startswith(HEAD)]
    if not heads or any(graph.specs[value].shape[0] != model.num_classes for value in heads):
        raise GraphError(
            f"{model.name}: no layer {HEAD[:-1]!r} makes its {model.num_classes} scores; it keeps its classes"
        )
    arrays = Workspace()
    for value in graph.params:
        arrays[value] = model.workspace[value]
    specs = {value: graph.specs[value] for value in (*graph.inputs, *graph.params)}
    for value in heads:
        shape = (len(labels), *graph.specs[value].shape[1:])
        specs[value] = Spec(shape, graph.specs[value].dtype)
        arrays[value] = (
            initializers.truncated_normal(initializers.generator(seed, value), shape, DEVIATION)
            if len(shape) > 1
            else initializers.constant(shape, 0)
        )
    graph = _inferred(graph, specs, len(labels))
    return model.replace(graph=graph, workspace=arrays, labels=tuple(labels))


def _inferred(graph: Graph, specs: dict[Value, Spec], classes: int) -> Graph:
    """The graph with all shapes worked out anew from those of its inputs and parameters."""
    try:
        for node in graph.nodes:
            inferred = node.op.infer_outputs([specs[value] for value in node.inputs])
            specs.update(zip(node.outputs, inferred, strict=True))
    except ShapeError as error:
        raise GraphError(f"{graph.name}: cannot be given {classes} classes: {error}") from error
    if specs[Value(OUTPUT)].shape[-1] != classes:
        raise GraphError(f"{graph.name}: with a head of {classes} classes its logits are {specs[Value(OUTPUT)]}")
    return dataclasses.replace(graph, specs=specs)
