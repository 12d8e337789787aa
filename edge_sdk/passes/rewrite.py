"""What passes share: renaming values, reading attributes of neighbours, putting a graph together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from edge_sdk.graph import Graph, Node
from edge_sdk.spec import Spec, Value
from edge_sdk.verify import verify


def resolve(value: Value, renamed: Mapping[Value, Value]) -> Value:
    """Follow replacements until a value that stays."""
    while value in renamed:
        value = renamed[value]
    return value


def rebuild(
    graph: Graph,
    nodes: Iterable[Node],
    renamed: Mapping[Value, Value] | None = None,
    params: Iterable[Value] | None = None,
    specs: Mapping[Value, Spec] | None = None,
    updates: Mapping[Value, Value] | None = None,
) -> Graph:
    """Return `graph` with other nodes; values in `renamed` are replaced wherever they are read.

    An output that was replaced keeps its public name: the value that takes its place is renamed to it, unless that one
    is an input, a parameter or an output itself, which an identity then copies.
    """
    from edge_sdk.ops.control import Identity

    renamed = renamed or {}
    nodes = [dataclasses.replace(n, inputs=tuple(resolve(v, renamed) for v in n.inputs)) for n in nodes]
    all_specs = {**graph.specs, **(specs or {})}
    produced = {value for node in nodes for value in node.outputs}
    public: dict[Value, Value] = {}
    for output in dict.fromkeys(graph.outputs):
        source = resolve(output, renamed)
        if source == output:
            continue
        if source in produced and source not in graph.outputs and source not in public:
            public[source] = output
        else:
            nodes.append(Node(Identity(), (public.get(source, source),), (output,)))
        all_specs[output] = all_specs[source]
    nodes = [
        dataclasses.replace(
            n,
            inputs=tuple(public.get(v, v) for v in n.inputs),
            outputs=tuple(public.get(v, v) for v in n.outputs),
        )
        for n in nodes
    ]
    kept_updates = graph.updates if updates is None else updates
    final_updates = {
        state: public.get(resolve(new, renamed), resolve(new, renamed)) for state, new in kept_updates.items()
    }
    final_params = tuple(graph.params if params is None else params)
    used = {*graph.inputs, *final_params, *(v for n in nodes for v in n.outputs)}
    result = Graph(
        graph.name,
        graph.inputs,
        final_params,
        tuple(nodes),
        graph.outputs,
        {value: all_specs[value] for value in all_specs if value in used},
        final_updates,
    )
    verify(result)
    return result


def last_values(graph: Graph) -> set[Value]:
    """Return what replaces a parameter and is read by nobody before: a node that makes nothing else may come later."""
    return {value for value in graph.updates.values() if value not in graph.outputs and not graph.consumers(value)}


def only_consumer(graph: Graph, value: Value) -> Node | None:
    """The one node that reads `value`, if there is just one and the value is neither an output nor an update."""
    consumers = graph.consumers(value)
    if len(consumers) != 1 or value in graph.outputs or value in graph.updates.values():
        return None
    return consumers[0] if consumers[0].inputs.count(value) == 1 else None
