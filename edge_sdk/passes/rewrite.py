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


def rename(graph: Graph, names: Mapping[Value, Value]) -> tuple[Graph, dict[Value, Value]]:
    """Return the graph with values under other names, and all that changed; who has such a name already makes room."""
    taken = {*graph.specs, *names.values()}
    table = dict(names)
    for wanted in names.values():
        if wanted in graph.specs and wanted not in names:
            number = 1
            while f"{wanted}.{number}" in taken:
                number += 1
            table[wanted] = Value(f"{wanted}.{number}")
            taken.add(table[wanted])

    def new(values: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(table.get(value, value) for value in values)

    result = Graph(
        graph.name,
        new(graph.inputs),
        new(graph.params),
        tuple(Node(node.op, new(node.inputs), new(node.outputs)) for node in graph.nodes),
        new(graph.outputs),
        {table.get(value, value): spec for value, spec in graph.specs.items()},
        dict(zip(new(graph.updates), new(graph.updates.values()), strict=True)),
    )
    verify(result)
    return result, table


def last_values(graph: Graph) -> set[Value]:
    """Return what replaces a parameter and is read by nobody before: a node that makes nothing else may come later."""
    return {value for value in graph.updates.values() if value not in graph.outputs and not graph.consumers(value)}


def only_consumer(graph: Graph, value: Value) -> Node | None:
    """The one node that reads `value`, if there is just one and the value is neither an output nor an update."""
    consumers = graph.consumers(value)
    if len(consumers) != 1 or value in graph.outputs or value in graph.updates.values():
        return None
    return consumers[0] if consumers[0].inputs.count(value) == 1 else None
