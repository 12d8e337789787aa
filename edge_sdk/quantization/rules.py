"""What TFLite's specification of integers says of operators: whose parameters are free, shared or fixed
(https://ai.google.dev/edge/litert/models/quantization_spec).
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_sdk.errors import ExportError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Softmax, Tanh
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import LocalResponseNorm
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.parameters import Range, activation_parameters
from edge_sdk.quantization.scheme import ActivationType, LayerPrecision, Scheme
from edge_sdk.spec import QuantParams, Value

# The axis of the output channels in the weights; dense layers have one scale, since per-channel ones need a runtime
# of 2024 or later (FULLY_CONNECTED version 12).
WEIGHT_AXIS: Mapping[type[Op], int | None] = {Conv2D: 0, ConvTranspose2D: 0, DepthwiseConv2D: 3, Linear: None}
# Operators that move or compare numbers without computing new ones: output and input share their parameters.
SAME_PARAMETERS = (
    AdaptiveAvgPool2D, AvgPool2D, Concat, ExpandDims, Flatten, MaxPool2D, Maximum, Minimum, Pad, Reshape, Resize, Slice,
    Split, Squeeze, Transpose,
)  # fmt: skip
MOVING = tuple(op for op in SAME_PARAMETERS if op not in (Maximum, Minimum, Pad))
"""Those whose results lie between numbers of their inputs."""
RESCALING = (Add, GlobalAvgPool, HardSwish, LeakyRelu, Mul, PRelu, ReduceMean, Relu, Relu6, Sub)
# Output parameters that the specification fixes.
FIXED: Mapping[type[Op], QuantParams] = {
    Sigmoid: QuantParams((1 / 256,), (-128,)),
    Softmax: QuantParams((1 / 256,), (-128,)),
    Tanh: QuantParams((1 / 128,), (0,)),
}
WIDE_FIXED = QuantParams((1 / 32768,), (0,))
"""The same of int16."""
# Operators that the format has for real numbers alone: they are computed between a Dequantize and a Quantize.
REAL = (LocalResponseNorm,)
NARROW = (HardSwish, PRelu)
"""Operators that no runtime of a stated version has on 16 bits; there they are computed like those above."""


HALF_BYTES = (Conv2D, DepthwiseConv2D, Linear)
"""Operators whose weights a file may store in 4 bits."""


def precision_of(node: Node, scheme: Scheme) -> LayerPrecision:
    """Return the type of the numbers that a node computes with."""
    if isinstance(node.op, REAL):
        return "float32"
    alone = isinstance(node.op, NARROW) and scheme.activations == "int16"
    return scheme.layers.get(node.outputs[0], "float32" if alone else scheme.activations)


def stored_types(graph: Graph, scheme: Scheme) -> dict[Value, ActivationType]:
    """Return as what each activation is stored where it is computed.

    That is the type its node computes with; of a real result the scheme's own, or the wider one where that is read. The
    image is int8, which is exact, and so is what 16-bit layers read of it.
    """
    types: dict[Value, ActivationType] = dict.fromkeys(graph.inputs, "int8")
    for node in graph.nodes:
        precision = precision_of(node, scheme)
        for value in node.outputs:
            if precision == "float32":
                wide = any(precision_of(reader, scheme) == "int16" for reader in graph.consumers(value))
                types[value] = "int16" if wide else scheme.activations
            else:
                types[value] = precision
    return types


def fixed_parameters(op: Op, stored: ActivationType) -> QuantParams | None:
    """Return the parameters that the specification fixes for the output of an operator, if it does."""
    narrow = FIXED.get(type(op))
    return WIDE_FIXED if narrow is not None and stored == "int16" else narrow


def never_negative(graph: Graph, value: Value) -> bool:
    """Tell whether an activation cannot be negative, by the operator that makes it and those that only move numbers."""
    node = next((node for node in graph.nodes if value in node.outputs), None)
    if node is None:
        return False
    if isinstance(node.op, MOVING):
        return all(never_negative(graph, source) for source in node.inputs)
    positive = getattr(node.op, "activation", None) in ("relu", "relu6")
    return positive or isinstance(node.op, Relu | Relu6 | Sigmoid | Softmax)


def weight_axis(node: Node, scheme: Scheme) -> int | None:
    """Return the axis of a node's weights along which each index has a scale of its own, or None for one scale."""
    if not scheme.per_channel:
        return None
    if isinstance(node.op, Linear):
        return 0 if scheme.dense_per_channel else None
    return WEIGHT_AXIS[type(node.op)]


def weight_bits(node: Node, scheme: Scheme) -> int:
    """Return in how many bits a node's weights are stored; those of 16-bit layers always have 8."""
    narrow = scheme.weights == "int4" and isinstance(node.op, HALF_BYTES)
    return 4 if narrow and precision_of(node, scheme) != "int16" else 8


def refuse_unsupported(graph: Graph, scheme: Scheme) -> None:
    """Raise ExportError, with the name of each, where nodes have no form in their precision."""
    known = (*WEIGHT_AXIS, *SAME_PARAMETERS, *RESCALING, *FIXED)
    wrong = [
        f"{node.op.name} ({node.outputs[0]})"
        for node in graph.nodes
        if precision_of(node, scheme) != "float32" and not isinstance(node.op, known)
    ]
    if wrong:
        raise ExportError(
            f"int8: no 8-bit form of {', '.join(wrong)}; export with quantize='dynamic' or 'fp16' instead"
        )
    wide = [
        f"{node.op.name} ({node.outputs[0]})"
        for node in graph.nodes
        if precision_of(node, scheme) == "int16" and isinstance(node.op, NARROW)
    ]
    if wide:
        raise ExportError(f"int16: no 16-bit form of {', '.join(wide)}; compute it on int8 or float32 (Scheme.layers)")


def check_fixed(graph: Graph, activations: Mapping[Value, QuantParams], scheme: Scheme) -> None:
    """Raise ExportError where outputs have other parameters than the specification fixes, which runtimes refuse."""
    for node in graph.nodes:
        precision = precision_of(node, scheme)
        wanted = None if precision == "float32" else fixed_parameters(node.op, precision)
        if wanted is None or activations[node.output] == wanted:
            continue
        found = activations[node.output]
        raise ExportError(
            f"{node.op.name} ({node.output}): its output has the scale {found.scale[0]:g} and the zero point "
            f"{found.zero_point[0]}; runtimes take {wanted.scale[0]:g} and {wanted.zero_point[0]} alone"
        )


def _saturating(graph: Graph, node: Node) -> list[Value]:
    """What a maximum or minimum with constants reads and nothing else does: its result is as large, or its limit."""
    if not isinstance(node.op, Maximum | Minimum) or not any(value in graph.params for value in node.inputs):
        return []
    return [v for v in node.inputs if v not in graph.params and v not in graph.outputs and len(graph.consumers(v)) == 1]


def activation_parameters_of(
    graph: Graph, ranges: Mapping[Value, Range], pixels: QuantParams | None, scheme: Scheme
) -> dict[Value, QuantParams]:
    """Choose the parameters of every activation, of the type it is stored as; equal ones are chosen together.

    Where several share them, they cover the ranges of all, but for what a maximum or minimum with constants alone
    reads: stored integers saturate, and what lies beyond its results' range comes to the same there. `pixels` are the
    uint8 parameters of the image; None leaves them to the range seen.
    """
    group: dict[Value, Value] = {}
    types = stored_types(graph, scheme)

    def find(value: Value) -> Value:
        while group.setdefault(value, value) != value:
            value = group[value]
        return value

    def computed(node: Node) -> list[Value]:
        return [value for value in node.inputs if value not in graph.params]

    integer_nodes = [node for node in graph.nodes if precision_of(node, scheme) != "float32"]
    for node in integer_nodes:
        if isinstance(node.op, SAME_PARAMETERS):
            for value in (*computed(node), *node.outputs):
                if types[value] == types[node.outputs[0]]:
                    group[find(value)] = find(node.outputs[0])
    image = Value(INPUT)
    fixed: dict[Value, QuantParams] = {}
    if pixels is not None:
        fixed[find(image)] = QuantParams(pixels.scale, (pixels.zero_point[0] - 128,))
    for node in integer_nodes:
        wanted = fixed_parameters(node.op, types[node.outputs[0]])
        if wanted is not None:
            fixed.setdefault(find(node.output), wanted)
    values = [image, *(value for node in graph.nodes for value in node.outputs)]
    saturating = {value for node in integer_nodes for value in _saturating(graph, node)}
    covered: dict[Value, Range] = {}
    for value in set(values) - saturating:
        covered[find(value)] = ranges[value].union(covered.get(find(value), ranges[value]))
    return {
        value: fixed.get(find(value)) or activation_parameters(covered[find(value)], scheme.symmetric, types[value])
        for value in values
    }
