"""allow_tf32: let products round their factors to TF32, for GPUs with tensor cores."""

from __future__ import annotations

import dataclasses

from edge_sdk.graph import Graph
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.workspace import Workspace


def allow_tf32(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph whose products of float32 have `precision="tf32"`, and so will their gradients.

    Factors then have 10 bits behind the point, as many as in float16, with float32's range (PTX ISA, "Alternate
    Floating-Point Data Formats"); sums and results stay float32. Devices without TF32 multiply exactly. Depthwise and
    transposed convolutions stay as they are: the former wait for memory, the latter are rare.
    """
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Conv2D | Linear | MatMul) and graph.specs[node.inputs[0]].dtype == "float32":
            node = dataclasses.replace(node, op=dataclasses.replace(node.op, precision="tf32"))
        nodes.append(node)
    return rebuild(graph, nodes), workspace.restricted(graph)
