"""gather_statistics: a convolution sums up its results for the batch norm that reads them."""

from __future__ import annotations

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.norm import BatchNormTraining
from edge_sdk.ops.statistics import BatchNormTrainingGathered, Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace


def gather_statistics(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which convolutions before batch norms in training form gather the batch's statistics.

    Those are summed up while results are in registers or in cache; the batch norm only normalises. It comes behind
    whatever knows convolutions and batch norms in their plain form: gradients, mixed precision, recomputation.
    """
    gathering: dict[Value, Node] = {}  # by the convolution's result
    specs: dict[Value, Spec] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node.op, BatchNormTraining):
            conv = graph.producer(node.inputs[0])
            op = None if conv is None else _with_statistics(conv)
            if conv is not None and op is not None:
                y, name = conv.output, _free(f"{conv.output}:statistics", graph)
                gathering[y] = Node(op, conv.inputs, (y, name))
                specs[name] = op.infer_outputs([graph.specs[value] for value in conv.inputs])[1]
                gathered = BatchNormTrainingGathered(**node.op.attributes())
                node = Node(gathered, (*node.inputs[:5], name, *node.inputs[5:]), node.outputs)
        nodes.append(node)
    nodes = [gathering.get(node.outputs[0], node) for node in nodes]
    return rebuild(graph, nodes, specs=specs), workspace.restricted(graph)


def _with_statistics(conv: Node) -> Op | None:
    """A plain convolution's operator as one that gathers, or None for any other node."""
    match conv.op:
        case Conv2D(activation=None) as op if len(conv.inputs) <= 3:
            return Conv2DStatistics(op.stride, op.padding, op.dilation, op.groups, op.precision)
        case DepthwiseConv2D(activation=None) as op:
            return DepthwiseConv2DStatistics(op.stride, op.padding, op.dilation)
        case _:
            return None


def _free(name: str, graph: Graph) -> Value:
    while name in graph.specs:
        name += "_"
    return Value(name)
