"""fuse_gradient_sum: where the gradients of two paths meet, the convolution that makes one adds the other."""

from __future__ import annotations

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2DGradInput, Conv2DGradInputAdded
from edge_sdk.ops.elementwise import Add
from edge_sdk.passes.absorb_sums import absorb_sums
from edge_sdk.workspace import Workspace


def fuse_gradient_sum(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which sums that alone read the input gradient of a convolution are part of it.

    That is how residual blocks end on the way back. A convolution that adds as it stores needs no pass over memory of
    its own for the sum.
    """
    return absorb_sums(graph, workspace, _with_sum)


def _with_sum(conv: Node, add: Add) -> Op | None:
    if not isinstance(conv.op, Conv2DGradInput) or add != Add():
        return None
    return Conv2DGradInputAdded(**conv.op.attributes())
