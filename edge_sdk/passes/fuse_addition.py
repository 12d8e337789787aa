"""fuse_addition: a sum becomes part of the convolution that computes one of its terms."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.passes.absorb_sums import absorb_sums
from edge_sdk.workspace import Workspace

WITH_BIAS = 3  # inputs of a convolution


def fuse_addition(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which convolutions add the other term of a sum, and apply its activation, as they store."""
    return absorb_sums(graph, workspace, _with_sum)


def _with_sum(conv: Node, add: Add) -> Op | None:
    if not isinstance(conv.op, Conv2D) or len(conv.inputs) != WITH_BIAS or conv.op.activation is not None:
        return None
    return dataclasses.replace(conv.op, activation=add.activation)
