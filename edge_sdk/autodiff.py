"""Gradients as a graph transformation: the backward program is made of ordinary nodes."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError, suggestion
from edge_sdk.graph import Node
from edge_sdk.spec import FLOATS, Value


def gradient(g: Builder, loss: Value, wanted: Sequence[Value], seed: Value | None = None) -> list[Value]:
    """Append the gradient of the scalar `loss` to g and return d loss / d value for each wanted value.

    Reverse accumulation: every operator on a path from a wanted value to the loss adds its own gradient nodes; what
    the wanted gradients do not need is dropped again. `seed` is d loss, 1 when left out; with it `loss` may have any
    shape. A wanted value that does not reach the loss is an error, since training it would silently do nothing.
    """
    from edge_sdk.ops.control import FullLike
    from edge_sdk.ops.elementwise import Add

    if seed is None:
        if g.spec(loss).shape != ():
            raise GraphError(f"the loss {loss!r} is {g.spec(loss)}, wanted a scalar; reduce it or give a seed")
        seed = g.add(FullLike(value=1.0), loss, name=f"d_{loss}")
    active = _values_that_depend_on(g.nodes, wanted)
    forward = list(g.nodes)
    cotangents: dict[Value, Value] = {loss: seed}
    for node in reversed(forward):
        from_outputs = [cotangents.get(value) for value in node.outputs]
        if all(c is None for c in from_outputs) or not any(value in active for value in node.inputs):
            continue
        parts = node.op.gradients(g, node, from_outputs)
        if len(parts) != len(node.inputs):
            raise GraphError(f"{node.op.name}: grad returned {len(parts)} values for {len(node.inputs)} inputs")
        for value, part in zip(node.inputs, parts, strict=True):
            if part is None or value not in active or g.spec(value).dtype not in FLOATS:
                continue
            _check(g, node, value, part)
            cotangents[value] = g.add(Add(), cotangents[value], part) if value in cotangents else part
    missing = [value for value in wanted if value not in cotangents]
    if missing:
        raise GraphError(f"{loss!r} does not depend on {missing[0]!r}{suggestion(missing[0], cotangents)}")
    result = [cotangents[value] for value in wanted]
    _drop_unneeded(g, len(forward), result)
    return result


def _values_that_depend_on(nodes: Sequence[Node], wanted: Sequence[Value]) -> set[Value]:
    """The wanted values and everything computed from them, without crossing a stop_gradient."""
    from edge_sdk.ops.control import StopGradient

    active = set(wanted)
    for node in nodes:
        if not isinstance(node.op, StopGradient) and any(value in active for value in node.inputs):
            active.update(node.outputs)
    return active


def _check(g: Builder, node: Node, value: Value, part: Value) -> None:
    if g.spec(part).shape != g.spec(value).shape:
        raise GraphError(
            f"{node.op.name}: its gradient for {value!r} is {g.spec(part)}, the value itself is {g.spec(value)}"
        )


def _drop_unneeded(g: Builder, first: int, wanted: Sequence[Value]) -> None:
    """Remove the nodes from index `first` on that no wanted value needs, such as the gradient of the photo."""
    needed = set(wanted)
    kept: list[Node] = []
    for node in reversed(g.nodes[first:]):
        if needed.isdisjoint(node.outputs):
            for value in node.outputs:
                del g.specs[value]
        else:
            needed.update(node.inputs)
            kept.append(node)
    g.nodes[first:] = reversed(kept)
