"""Graph: an immutable program in static single assignment form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from edge_sdk.errors import GraphError, suggestion
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value


@dataclass(frozen=True)
class Node:
    """One application of an operator: outputs = op(inputs)."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def output(self) -> Value:
        """The only output; raises GraphError for an operator with several."""
        if len(self.outputs) != 1:
            raise GraphError(f"{self.op.name} has {len(self.outputs)} outputs: {', '.join(self.outputs)}")
        return self.outputs[0]

    def input(self, name: str) -> Value | None:
        """The value given for the input called `name` by the operator, or None when it was left out."""
        index = self.op.input_names.index(name)
        return self.inputs[index] if index < len(self.inputs) else None


@dataclass(frozen=True)
class Graph:
    """Inputs, parameters (state kept in a Workspace), nodes in execution order, outputs and updates.

    `updates` maps a parameter to the value that replaces it when a run ends; a training step is a graph whose
    updates are an optimizer's results. A graph holds no arrays.
    """

    name: str
    inputs: tuple[Value, ...]
    params: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    specs: Mapping[Value, Spec]
    updates: Mapping[Value, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "specs", MappingProxyType(dict(self.specs)))
        object.__setattr__(self, "updates", MappingProxyType(dict(self.updates)))

    @cached_property
    def producers(self) -> Mapping[Value, Node]:
        """The node that computes each value; inputs and parameters have none."""
        return {value: node for node in self.nodes for value in node.outputs}

    @cached_property
    def _consumers(self) -> Mapping[Value, tuple[Node, ...]]:
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in found.items()}

    def producer(self, value: Value) -> Node | None:
        """The node that computes `value`, or None for an input or parameter."""
        return self.producers.get(value)

    def consumers(self, value: Value) -> tuple[Node, ...]:
        """The nodes that read `value`, in execution order."""
        return self._consumers.get(value, ())

    def value(self, name: str) -> Value:
        """Return the value called `name`; raises GraphError with a suggestion when there is none."""
        if name not in self.specs:
            raise GraphError(f"graph {self.name!r} has no value {name!r}{suggestion(name, self.specs)}")
        return Value(name)

    def bind(self, batch: int) -> Graph:
        """Return the graph with the symbolic batch replaced by `batch`, every shape inferred anew."""
        if batch < 1:
            raise GraphError(f"batch must be at least 1, got {batch}")
        specs = {value: self.specs[value].bind(batch) for value in (*self.inputs, *self.params)}
        for node in self.nodes:
            inferred = node.op.infer_outputs([specs[value] for value in node.inputs])
            for value, spec in zip(node.outputs, inferred, strict=True):
                kept = self.specs[value]
                specs[value] = Spec(spec.shape, kept.dtype, kept.quant)
        return Graph(self.name, self.inputs, self.params, self.nodes, self.outputs, specs, self.updates)

    def __str__(self) -> str:
        from edge_sdk.printer import program

        return program(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} nodes, {len(self.params)} parameters>"
