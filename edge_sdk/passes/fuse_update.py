"""fuse_update: the weight gradient of a dense layer and the optimizer's step become one operator."""

from __future__ import annotations

from edge_sdk.graph import Graph, Node
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.update import OF_DENSE_LAYERS
from edge_sdk.passes.rewrite import only_consumer, rebuild
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace


def fuse_update(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which an update that alone reads a product dyᵀ · x takes dy and x themselves.

    The gradient is as large as the weight, which is most of a network's memory where layers are dense; its kernel then
    never stores it. A gradient that is read elsewhere, for its norm, stays; so does one in 16 bits, which takes half
    the memory and is made by faster products.
    """
    fused: dict[int, Node] = {}  # by the place of the update
    absorbed: set[Value] = set()
    for node in graph.nodes:
        form = OF_DENSE_LAYERS.get(type(node.op))
        if form is None or len(node.inputs) > node.op.required_inputs:  # with a factor, which reads all gradients
            continue
        weight, gradient, *rest = node.inputs
        product = graph.producer(gradient)
        if product is None or product.op != MatMul(transpose_a=True) or only_consumer(graph, gradient) is not node:
            continue
        if graph.specs[gradient].rank != 2 or graph.specs[gradient].dtype != graph.specs[weight].dtype:
            continue
        fused[id(node)] = Node(form(**node.op.attributes()), (weight, *product.inputs, *rest), node.outputs)
        absorbed.add(gradient)
    nodes = [fused.get(id(node), node) for node in graph.nodes if node.outputs[0] not in absorbed]
    return rebuild(graph, nodes), workspace.restricted(graph)
