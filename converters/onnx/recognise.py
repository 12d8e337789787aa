"""Activation functions that exporters write out in arithmetic, as the engine's own operators.

    gelu        x · 0.5 · (1 + erf(x / √2))
    hard_swish  x · relu6(x + 3) / 6, x · hard_sigmoid(x)

Both have a form in .tflite files and a gradient of their own; hard_swish has one in 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import Gelu, HardSigmoid, HardSwish, Relu6
from edge_sdk.ops.elementwise import Add, Div, Mul
from edge_sdk.ops.functions import Apply
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace


def recognise_activations(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which products that are an activation function are one operator."""
    finder = _Finder(graph, workspace)
    nodes = []
    for node in graph.nodes:
        found = finder.activation(node)
        nodes.append(node if found is None else Node(found[0], (found[1],), node.outputs))
    return dead_code(rebuild(graph, nodes), workspace)


class _Finder:
    def __init__(self, graph: Graph, workspace: Workspace) -> None:
        self.graph = graph
        self.workspace = workspace

    def activation(self, node: Node) -> tuple[Op, Value] | None:
        """The operator that a product is, and of what."""
        if not isinstance(node.op, Mul | Div) or self.graph.specs[node.output].dtype != "float32":
            return None
        factors, constant = self.factors(node.output, 4)
        if len(factors) != 2:
            return None
        for x, other in (factors, factors[::-1]):
            if self.graph.specs[x].shape != self.graph.specs[node.output].shape:
                continue
            if _close(constant, 0.5) and self.is_one_plus_erf(other, x):
                return Gelu(), x
            if _close(constant, 1.0) and self.is_unary(other, HardSigmoid, x):
                return HardSwish(), x
            if _close(constant, 1 / 6) and self.is_relu6_of_moved(other, x):
                return HardSwish(), x
        return None

    def factors(self, value: Value, depth: int) -> tuple[list[Value], float]:
        """What is multiplied to make a value: values, and the product of the constants."""
        node = self.graph.producer(value)
        if node is None or not isinstance(node.op, Mul | Div) or not depth:
            return [value], 1.0
        left, right = node.inputs
        known = self.number(right)
        if known is not None:
            found, constant = self.factors(left, depth - 1)
            return found, constant / known if isinstance(node.op, Div) and known else constant * known
        if isinstance(node.op, Div):
            return [value], 1.0
        known = self.number(left)
        if known is not None:
            found, constant = self.factors(right, depth - 1)
            return found, constant * known
        first, one = self.factors(left, depth - 1)
        second, other = self.factors(right, depth - 1)
        return [*first, *second], one * other

    def number(self, value: Value) -> float | None:
        """A scalar constant."""
        if value not in self.graph.params or self.graph.specs[value].elements != 1:
            return None
        return float(self.workspace[value].reshape(()))

    def is_unary(self, value: Value, kind: type[Op], x: Value) -> bool:
        """Whether a value is an operator of x."""
        node = self.graph.producer(value)
        return node is not None and isinstance(node.op, kind) and node.inputs == (x,)

    def sums(self, value: Value) -> Iterator[tuple[Value, float]]:
        """A value as a sum of another one and a number."""
        node = self.graph.producer(value)
        if node is not None and node.op == Add():
            for one, other in (node.inputs, node.inputs[::-1]):
                known = self.number(other)
                if known is not None:
                    yield one, known

    def is_one_plus_erf(self, value: Value, x: Value) -> bool:
        """1 + erf(x / √2)."""
        for one, number in self.sums(value):
            node = self.graph.producer(one)
            if _close(number, 1.0) and node is not None and node.op == Apply("erf"):
                found, constant = self.factors(node.inputs[0], 2)
                return found == [x] and _close(constant, 1 / math.sqrt(2))
        return False

    def is_relu6_of_moved(self, value: Value, x: Value) -> bool:
        """relu6(x + 3)."""
        node = self.graph.producer(value)
        if node is None or not isinstance(node.op, Relu6):
            return False
        return any(one == x and _close(number, 3.0) for one, number in self.sums(node.inputs[0]))


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5)
