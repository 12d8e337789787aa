"""constant_folding: compute once what depends on constants alone."""

from __future__ import annotations

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.kernel import call_arguments, find_kernel, load_device
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.quantization.profile import DEFAULT
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace

LARGEST_RESULT = 1 << 24  # elements; a larger constant costs more to store than to compute


def constant_folding(graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Return the graph in which every node that reads only parameters nothing updates became a parameter.

    The reference kernels compute the result.
    """
    load_device("reference")
    arrays = workspace.restricted(graph)
    constants = {value for value in graph.params if value not in graph.updates}
    folded: list[Value] = []
    nodes: list[Node] = []
    for node in graph.nodes:
        specs = [graph.specs[value] for value in node.outputs]
        public = {*graph.outputs, *graph.updates.values()}.intersection(node.outputs)
        large = any(s.symbolic or s.quant is not None or s.elements > LARGEST_RESULT for s in specs)
        has_kernel = find_kernel(node.op, "reference", [graph.specs[value] for value in node.inputs]) is not None
        constant = node.op.pure and all(value in constants for value in node.inputs)
        if not constant or not has_kernel or public or large:
            nodes.append(node)
            continue
        results = _compute(graph, node, [arrays[value] for value in node.inputs], specs)
        for value, result in zip(node.outputs, results, strict=True):
            arrays[value] = result
            constants.add(value)
            folded.append(value)
    return dead_code(rebuild(graph, nodes, params=(*graph.params, *folded)), arrays)


def _compute(graph: Graph, node: Node, inputs: list[Array], specs: list[Spec]) -> list[Array]:
    outputs = [np.zeros(spec.shape, spec.numpy_dtype) for spec in specs]
    input_specs = [graph.specs[value] for value in node.inputs]
    kernel = find_kernel(node.op, "reference", input_specs)
    if kernel is not None:
        keywords = kernel.constant_keywords(node.op, input_specs, specs, DEFAULT)
        kernel.bind(node.op, call_arguments(outputs), inputs, keywords)()
    return outputs
