"""recompute: activations that are cheap to make are made again for the gradients instead of being kept for them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

from edge_sdk.cost import node_multiply_adds
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.activation import HardSigmoid, HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Silu, Tanh
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.fake_quantization import FakeQuantize
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining, BatchNormTrainingAgain
from edge_sdk.ops.pool import AvgPool2D, MaxPool2D
from edge_sdk.ops.random import Dropout
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace

CHEAP = (
    Add, AvgPool2D, BatchNorm, BatchNormTraining, Dropout, FakeQuantize, HardSigmoid, HardSwish, LeakyRelu, MaxPool2D,
    Mul, Relu, Relu6, Sigmoid, Silu, Tanh,
)  # fmt: skip
"""One pass over memory; a batch norm in training form does not need its second one, for its statistics are saved."""


WORTHWHILE, WORTHWHILE_ON_A_GPU = 32, 8192
"""Multiply-adds with each number of an activation, beside which making it again takes a few per cent of the time.

A GPU does some hundred while it moves one byte: there hardly anything is, and memory is saved where that is asked.
"""


def recompute(graph: Graph, workspace: Workspace, *, loss: str, least_work: int = 0) -> tuple[Graph, Workspace]:
    """Return the training graph in which the part behind the value called `loss` makes cheap activations again.

    Those are left out with each number of which the gradients that read it do fewer than `least_work` multiply-adds.
    A value is made again when its operator is cheap and its inputs are at hand: parameters, and values that are kept
    for other gradients anyway. What it is made of is therefore never made again itself, so that nothing is computed
    more than twice, and in a chain of residual sums every second one is kept. The numbers are the same to the last bit.
    """
    places = {value: index for index, node in enumerate(graph.nodes) for value in node.outputs}
    border = places[graph.value(loss)]
    kept = {value for node in graph.nodes[border + 1 :] for value in _contents(node)}
    work = _work(graph, border)
    renamed: dict[Value, Value] = {}
    copies: dict[Value, Node] = {}
    specs: dict[Value, Spec] = {}
    for node in graph.nodes[:border]:
        value = node.outputs[0]
        if not isinstance(node.op, CHEAP) or value not in kept or value in graph.outputs:
            continue
        if work[value] < least_work:
            continue
        made_of = node.inputs[:1] if isinstance(node.op, Dropout) else node.inputs
        if all(source in graph.params or source in kept - renamed.keys() for source in made_of):
            name = Value(f"{value}:again")
            renamed[value], copies[name], specs[name] = name, _again(node, name), graph.specs[value]
    nodes: list[Node] = list(graph.nodes[: border + 1])
    for node in graph.nodes[border + 1 :]:
        inputs = tuple(renamed.get(value, value) for value in node.inputs)
        nodes += [copies.pop(value) for value in dict.fromkeys(inputs) if value in copies]
        nodes.append(dataclasses.replace(node, inputs=inputs))
    return rebuild(graph, nodes, specs=specs), workspace.restricted(graph)


def worthwhile(device: str) -> int:
    """Return the `least_work` by which a step decides for itself what to make again on a device."""
    return WORTHWHILE_ON_A_GPU if device == "gpu" else WORTHWHILE


def _work(graph: Graph, border: int) -> dict[Value, float]:
    """Multiply-adds that nodes behind the border do with each number of a value."""
    bound = graph.bind(1)
    work: dict[Value, float] = defaultdict(float)
    for node in bound.nodes[border + 1 :]:
        for value in _contents(node):
            work[value] += node_multiply_adds(bound, node) / max(1, bound.specs[value].elements)
    return work


def _contents(node: Node) -> list[Value]:
    """The inputs of which more than the shape is read."""
    names = node.op.input_names
    return [v for i, v in enumerate(node.inputs) if names[min(i, len(names) - 1)] not in node.op.shape_only]


def _again(node: Node, name: Value) -> Node:
    if not isinstance(node.op, BatchNormTraining):
        return Node(node.op, node.inputs, (name,))
    x, scale, offset, _, _, *residual = node.inputs
    return Node(BatchNormTrainingAgain(node.op.activation), (x, scale, offset, *node.outputs[3:5], *residual), (name,))
