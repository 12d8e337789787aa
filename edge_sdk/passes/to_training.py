"""to_training: batch norm by batch statistics, dropout that drops."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.control import Full
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.ops.random import Dropout
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace

STEP = "step"
"""The parameter that counts training steps (int64 scalar); its updated value is `step:updated`, 1 in the first."""


def to_training(
    graph: Graph, workspace: Workspace, *, trainable: Collection[str], seed: int = 0
) -> tuple[Graph, Workspace]:
    """Return the training form of an inference graph.

    A batch norm whose scale or offset is trainable normalises by the batch and updates its running statistics; a
    frozen one stays as it is. Dropout draws a new mask each step, but where nothing before it trains it is left out.
    """
    arrays = workspace.restricted(graph)
    learning = set(trainable)
    g = Builder.extend(graph)  # knows every name of the graph, so that new values get other ones
    g.nodes.clear()
    moves: set[Value] = {Value(name) for name in learning}  # values that depend on something trainable
    counted: Value | None = None
    dropouts = 0
    for node in graph.nodes:
        if any(value in moves for value in node.inputs):
            moves.update(node.outputs)
        if isinstance(node.op, BatchNorm) and learning.intersection(node.inputs[1:3]):
            _add_batch_norm(g, node, node.op)
        elif isinstance(node.op, Dropout) and node.inputs[0] in moves:
            counted = counted or _count_steps(g, arrays)
            g.nodes.append(Node(Dropout(node.op.rate, seed * 1000 + dropouts), (node.inputs[0], counted), node.outputs))
            dropouts += 1
        else:
            g.nodes.append(node)
    return g.build(*graph.outputs), arrays


def _add_batch_norm(g: Builder, node: Node, op: BatchNorm) -> None:
    training = BatchNormTraining(op.epsilon, activation=op.activation)
    _, _, _, mean, variance = node.inputs
    first, new_mean, new_variance, *saved = g.add_multi(training, *node.inputs, name=node.output)
    del g.specs[first]
    g.nodes[-1] = Node(training, node.inputs, (node.output, new_mean, new_variance, *saved))
    g.update(mean, new_mean)
    g.update(variance, new_variance)


def _count_steps(g: Builder, arrays: Workspace) -> Value:
    step = g.param(STEP, Spec((), "int64"))
    arrays[STEP] = np.asarray(0, np.int64)
    one = g.add(Full(shape=(), value=1.0, dtype="int64"), name="one")
    counted = g.add(Add(), step, one, name=f"{STEP}:updated")
    g.update(step, counted)
    return counted
