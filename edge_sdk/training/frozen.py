"""Which parameters train and which stay as they are."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD
from edge_sdk.op import Op
from edge_sdk.ops.fake_quantization import FakeQuantize
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.spec import FLOATS, Value

GIVEN: Mapping[type[Op], tuple[str, ...]] = {BatchNorm: ("mean", "variance"), FakeQuantize: ("scale",)}
"""Inputs whose parameters no gradient changes: they are measured."""

Freeze = str | Sequence[str] | None


def learnable(graph: Graph) -> tuple[Value, ...]:
    """The parameters a gradient can change.

    Those are all floating ones but the running statistics of batch norm and the given scales of a rounding.
    """
    given = {node.input(name) for node in graph.nodes for name in GIVEN.get(type(node.op), ())}
    return tuple(v for v in graph.params if v not in given and graph.specs[v].dtype in FLOATS)


def trainable(graph: Graph, freeze: Freeze) -> tuple[Value, ...]:
    """The learnable parameters that `freeze` leaves to train.

    `freeze` is None (train all), "backbone" (all but the classifier head), or patterns of parameter names such as
    `["stem.*", "blocks.0.*"]`, with shell wildcards.

    Raises:
        UsageError: a pattern matches nothing, or nothing is left to train.
    """
    candidates = learnable(graph)
    if freeze is None:
        return candidates
    if freeze == "backbone":
        left = tuple(value for value in candidates if value.startswith(HEAD))
        if not left:
            raise UsageError(f"freeze='backbone': {graph.name!r} has no parameter whose name starts with {HEAD!r}")
        return left
    patterns = (freeze,) if isinstance(freeze, str) else tuple(freeze)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(value, pattern) for value in candidates):
            known = ("backbone", *candidates)
            raise UsageError(
                f"freeze: {pattern!r} matches no parameter of {graph.name!r}{suggestion(pattern, known)}; "
                "`edge inspect` lists their names"
            )
    left = tuple(v for v in candidates if not any(fnmatch.fnmatchcase(v, pattern) for pattern in patterns))
    if not left:
        raise UsageError(f"freeze: {', '.join(patterns)} leaves nothing to train")
    return left
