"""mixed_precision: let products round their factors to bfloat16, where that gains."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace

NARROW = 16
"""With fewer input or output channels, as in the first layer, rounding takes longer than multiplying (measured)."""


def mixed_precision(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph whose convolutions and dense layers have `precision="bfloat16"`, and so will their gradients.

    Those stay float32 that would gain nothing: 3×3 convolutions of stride 1, which Winograd's algorithm computes with a
    quarter of the products; convolutions in groups and depthwise ones, which wait for memory; layers with fewer than
    NARROW inputs or outputs. Parameters, values between operators, sums and optimizer states stay float32 everywhere.
    """
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Conv2D | Linear) and _gains(node.op, *(graph.specs[v] for v in node.inputs[:2])):
            node = dataclasses.replace(node, op=dataclasses.replace(node.op, precision="bfloat16"))
        nodes.append(node)
    return rebuild(graph, nodes), workspace.restricted(graph)


def _gains(op: Conv2D | Linear, x: Spec, w: Spec) -> bool:
    """Weights are (outputs, …, inputs)."""
    if x.dtype != "float32" or min(w.shape[0], w.shape[-1]) < NARROW:
        return False
    if isinstance(op, Linear):
        return True
    winograd = w.shape[1:3] == (3, 3) and op.stride == (1, 1) and op.dilation == (1, 1)
    return op.groups == 1 and not winograd
