"""Builder: the only way to make a graph."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.errors import GraphError, ShapeError, suggestion
from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value


class Builder:
    """Collects inputs, parameters and nodes; `build` checks the result and freezes it.

    Names are made unique by a numeric suffix, so two calls may ask for the same one.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.params: list[Value] = []
        self.nodes: list[Node] = []
        self.specs: dict[Value, Spec] = {}
        self.updates: dict[Value, Value] = {}
        self._suffixes: dict[str, int] = {}

    @classmethod
    def extend(cls, graph: Graph, name: str | None = None) -> Builder:
        """Return a builder that continues `graph`; its outputs are chosen anew by `build`."""
        builder = cls(name or graph.name)
        builder.inputs.extend(graph.inputs)
        builder.params.extend(graph.params)
        builder.nodes.extend(graph.nodes)
        builder.specs.update(graph.specs)
        builder.updates.update(graph.updates)
        return builder

    def input(self, name: str, spec: Spec) -> Value:
        """Declare a value that is fed at every run. Its name must be free, for users feed by it."""
        value = self._declare(name, spec)
        self.inputs.append(value)
        return value

    def param(self, name: str, spec: Spec) -> Value:
        """Declare a value whose array is kept in the Workspace. Its name must be free."""
        value = self._declare(name, spec)
        self.params.append(value)
        return value

    def add(self, op: Op, *inputs: Value, name: str = "") -> Value:
        """Append a node of an operator with one output; raises ShapeError when the inputs do not fit."""
        outputs = self.add_multi(op, *inputs, name=name)
        if len(outputs) != 1:
            raise GraphError(f"{op.name} has {len(outputs)} outputs; use add_multi")
        return outputs[0]

    def add_multi(self, op: Op, *inputs: Value, name: str = "") -> tuple[Value, ...]:
        """Append a node and return all its outputs, named `name`, `name.1`, …"""
        inferred = op.infer_outputs([self.spec(value) for value in inputs])
        return self.append(op, inputs, inferred, name=name)

    def append(self, op: Op, inputs: Sequence[Value], outputs: Sequence[Spec], name: str = "") -> tuple[Value, ...]:
        """Append a node whose output specs are given, as quantization needs; `verify` checks their shapes."""
        values = tuple(self._unique(name or op.name, spec) for spec in outputs)
        self.nodes.append(Node(op, tuple(inputs), values))
        return values

    def update(self, state: Value, new: Value) -> None:
        """Say that the parameter `state` takes the value `new` when a run ends."""
        if state not in self.params:
            raise GraphError(f"only a parameter can be updated; {state!r} is none{suggestion(state, self.params)}")
        if state in self.updates:
            raise GraphError(f"{state!r} is updated twice: by {self.updates[state]!r} and {new!r}")
        if self.spec(state) != self.spec(new):
            raise ShapeError(
                f"update of {state!r}: it is {self.spec(state)}, the new value {new!r} is {self.spec(new)}"
            )
        self.updates[state] = new

    def spec(self, value: Value) -> Spec:
        """Return what is known about `value`."""
        if value not in self.specs:
            raise GraphError(f"{value!r} is not a value of graph {self.name!r}{suggestion(value, self.specs)}")
        return self.specs[value]

    def build(self, *outputs: Value) -> Graph:
        """Freeze the program with the given outputs; raises GraphError when it is not well formed."""
        from edge_sdk.verify import verify

        graph = Graph(
            self.name,
            tuple(self.inputs),
            tuple(self.params),
            tuple(self.nodes),
            tuple(outputs),
            self.specs,
            self.updates,
        )
        verify(graph)
        return graph

    def _declare(self, name: str, spec: Spec) -> Value:
        if name in self.specs:
            raise GraphError(f"graph {self.name!r} already has a value {name!r}")
        self.specs[Value(name)] = spec
        return Value(name)

    def _unique(self, hint: str, spec: Spec) -> Value:
        name = hint
        while name in self.specs:
            self._suffixes[hint] = self._suffixes.get(hint, 0) + 1
            name = f"{hint}.{self._suffixes[hint]}"
        return self._declare(name, spec)
