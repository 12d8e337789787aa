"""What layers make of images: of real numbers, and of stored integers beside them, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

import numpy as np

from edge_sdk.errors import DataError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT, OUTPUT
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.passes.dead_code import prune
from edge_sdk.quantization.scheme import ActivationType
from edge_sdk.session import Session
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace

WEIGHTED = (Conv2D, DepthwiseConv2D, Linear)


def weighted_layers(graph: Graph) -> tuple[Node, ...]:
    """Return the convolutions and dense layers whose weights are parameters, in execution order."""
    return tuple(node for node in graph.nodes if isinstance(node.op, WEIGHTED) and node.inputs[1] in graph.params)


def integer_name(integers: Graph, value: Value) -> Value:
    """Return the name that a value of the float graph has among the stored integers.

    The own names of image and logits belong to what enters and leaves the graph. Where they are stored in two types,
    the first one counts: the other is made of it.
    """
    names = {f"{value}.{stored}" for stored in get_args(ActivationType)} if value in (OUTPUT, INPUT) else set()
    return next((name for name in integers.specs if name in names), value)


def integer_node(integers: Graph, node: Node) -> Node | None:
    """Return the node that computes a float node's result on stored integers, or None where it computes on floats."""
    found = integers.producer(integer_name(integers, node.outputs[0]))
    return found if found is not None and type(found.op) is type(node.op) and _quantized(integers, found) else None


def real_numbers(stored: Array, spec: Spec) -> Array:
    """Return what stored integers mean; real numbers stay as they are."""
    if spec.quant is None:
        return stored
    steps = stored.astype(np.float32) - np.float32(spec.quant.zero_point[0])
    return np.asarray(steps * np.float32(spec.quant.scale[0]), np.float32)


def outputs_of(
    graph: Graph, workspace: Workspace, values: Sequence[Value], images: Iterable[Array]
) -> Iterator[dict[Value, Array]]:
    """Yield the real numbers of some values for each batch of preprocessed images (n, h, w, c).

    Raises:
        DataError: there is no image.
    """
    wanted = tuple(dict.fromkeys(values))
    fed = [value for value in wanted if value in graph.inputs]
    pruned = (
        prune(graph, workspace, outputs=tuple(v for v in wanted if v not in fed)) if len(fed) < len(wanted) else None
    )
    session: Session | None = None
    seen = False
    for batch in images:
        seen = True
        result = dict.fromkeys(fed, batch)
        if pruned is not None:
            if session is None or session.graph.specs[Value(INPUT)].shape[0] != len(batch):
                session = Session(*pruned, batch=len(batch))
            stored = session.run({INPUT: batch})
            result |= {Value(name): real_numbers(array, graph.specs[Value(name)]) for name, array in stored.items()}
        yield result
    if not seen:
        raise DataError("there is no image; give some like those the model will see")


def _quantized(graph: Graph, node: Node) -> bool:
    return all(graph.specs[value].quant is not None for value in node.outputs)
