"""freeze and split_at_frozen: what does not train is brought to its fastest form, and can be cut off."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph, Node
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.fold_batch_norm import fold_batch_norm
from edge_sdk.spec import Spec, Value
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace


def freeze(graph: Graph, workspace: Workspace, *, frozen: Collection[str]) -> tuple[Graph, Workspace]:
    """Return the graph in which layers of frozen parameters are folded; no gradient needs their parts any more."""
    return fold_batch_norm(graph, workspace, only=frozenset(frozen))


def split_at_frozen(
    graph: Graph, workspace: Workspace, *, frozen: Collection[str]
) -> tuple[tuple[Graph, Workspace], tuple[Graph, Workspace]]:
    """Cut the graph after everything that depends on inputs and frozen parameters alone.

    The first graph computes the features at the cut, the second takes them as inputs of the same names. Raises
    GraphError when nothing, or everything, is frozen.
    """
    fed: set[Value] = set(graph.inputs)  # what a run's inputs decide, so far without anything that trains
    constant = {value for value in graph.params if value in frozen}
    before: list[Node] = []
    free: list[Node] = []  # reads neither inputs nor what trains: each half that needs it computes it
    for node in graph.nodes:
        updating = any(v in graph.updates.values() for v in node.outputs)
        if updating or not all(value in fed or value in constant for value in node.inputs):
            continue
        if any(value in fed for value in node.inputs):
            fed.update(node.outputs)
            before.append(node)
        else:
            constant.update(node.outputs)
            free.append(node)
    inside = {value for node in before for value in node.outputs}
    after = [node for node in graph.nodes if node not in before]
    wanted = [*(value for node in after for value in node.inputs), *graph.outputs]
    read = dict.fromkeys(value for value in wanted if value in inside)
    if not before or not [node for node in after if node not in free] or not read:
        raise GraphError(f"graph {graph.name!r}: the frozen parameters cut off {'everything' if before else 'nothing'}")
    cut = tuple(read)
    first_nodes = tuple(node for node in graph.nodes if node in before or node in free)
    first = Graph(f"{graph.name}_features", graph.inputs, graph.params, first_nodes, cut, _specs(graph, first_nodes))
    # Inputs that the rest does not read, such as the photo, are not asked for again.
    inputs = tuple(value for value in graph.inputs if value in wanted)
    kept_inputs: tuple[Value, ...] = (*cut, *inputs)
    specs = {**_specs(graph, after), **{value: graph.specs[value] for value in cut}}
    rest = Graph(graph.name, kept_inputs, graph.params, tuple(after), graph.outputs, specs, graph.updates)
    verify(rest)
    return dead_code(first, workspace), dead_code(rest, workspace)


def _specs(graph: Graph, nodes: Sequence[Node]) -> dict[Value, Spec]:
    known = {*graph.inputs, *graph.params, *(value for node in nodes for value in node.outputs)}
    return {value: spec for value, spec in graph.specs.items() if value in known}
