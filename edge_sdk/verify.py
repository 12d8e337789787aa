"""Is a graph well formed? Run after every pass and on every file read."""

from __future__ import annotations

import re

from edge_sdk.errors import GraphError, ShapeError
from edge_sdk.graph import Graph, Node
from edge_sdk.spec import Value

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:\-]*")


def verify(graph: Graph) -> None:
    """Raise GraphError unless every value is assigned once, before its use, with the shape its operator infers.

    Checked too: outputs and updates exist, an update fits its parameter, names are printable.
    """
    defined: set[Value] = set()
    params = frozenset(graph.params)
    for value in (*graph.inputs, *graph.params):
        _define(graph, value, defined)
    for node in graph.nodes:
        where = f"graph {graph.name!r}, node {node.op.name} → {', '.join(node.outputs)}"
        for value in node.inputs:
            if value not in defined:
                raise GraphError(f"{where}: input {value!r} is used before it is computed")
        _check_shapes(graph, node, where)
        for value in node.outputs:
            _define(graph, value, defined)
    for value in graph.outputs:
        if value not in defined:
            raise GraphError(f"graph {graph.name!r}: output {value!r} is never computed")
    for state, new in graph.updates.items():
        if state not in params or new not in graph.producers:
            raise GraphError(f"graph {graph.name!r}: update {state!r} ← {new!r} needs a parameter and a computed value")
        if graph.specs[state] != graph.specs[new]:
            raise GraphError(
                f"graph {graph.name!r}: update of {state!r} ({graph.specs[state]}) by {new!r} ({graph.specs[new]})"
            )


def _check_shapes(graph: Graph, node: Node, where: str) -> None:
    try:
        inferred = node.op.infer_outputs([graph.specs[value] for value in node.inputs])
    except ShapeError as error:
        raise GraphError(f"{where}: {error}") from error
    if len(inferred) != len(node.outputs):
        raise GraphError(f"{where}: {node.op.name} has {len(inferred)} outputs")
    for value, spec in zip(node.outputs, inferred, strict=True):
        found = graph.specs.get(value)
        # A quantized value keeps its operator but not its real-valued dtype.
        same_type = found is not None and (found.quant is not None or found.dtype == spec.dtype)
        if found is None or found.shape != spec.shape or not same_type:
            raise GraphError(f"{where}: {value!r} is recorded as {found}, the operator makes {spec}")


def _define(graph: Graph, value: Value, defined: set[Value]) -> None:
    if value in defined:
        raise GraphError(f"graph {graph.name!r}: value {value!r} is assigned twice")
    if value not in graph.specs:
        raise GraphError(f"graph {graph.name!r}: value {value!r} has no spec")
    if not _NAME.fullmatch(value) or len(value) > 256:
        raise GraphError(f"graph {graph.name!r}: {value[:80]!r} is not a name; use letters, digits and _ . / : -")
    defined.add(value)
