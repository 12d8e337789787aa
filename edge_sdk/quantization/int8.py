"""The pass that turns a float inference graph into an 8-bit one, by the rules of TFLite's specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.errors import ExportError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT, OUTPUT
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Softmax, Tanh
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import LocalResponseNorm
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.calibration import Range
from edge_sdk.quantization.parameters import activation_parameters, quantize_bias, quantize_weights
from edge_sdk.spec import QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

EdgeType = Literal["uint8", "float32"]

# The axis of the output channels in the weights; dense layers have one scale, since per-channel ones need a runtime
# of 2024 or later (FULLY_CONNECTED version 12).
WEIGHT_AXIS: Mapping[type[Op], int | None] = {
    Conv2D: 0, ConvTranspose2D: 0, DepthwiseConv2D: 3, Linear: None
}  # fmt: skip
# Operators that move or compare numbers without computing new ones: output and input share their parameters.
SAME_PARAMETERS = (
    AdaptiveAvgPool2D, AvgPool2D, Concat, ExpandDims, Flatten, MaxPool2D, Maximum, Minimum, Pad, Reshape, Resize, Slice,
    Split, Squeeze, Transpose,
)  # fmt: skip
RESCALING = (Add, GlobalAvgPool, HardSwish, LeakyRelu, Mul, PRelu, ReduceMean, Relu, Relu6, Sub)
# Output parameters that the specification fixes.
FIXED: Mapping[type[Op], QuantParams] = {
    Sigmoid: QuantParams((1 / 256,), (-128,)),
    Softmax: QuantParams((1 / 256,), (-128,)),
    Tanh: QuantParams((1 / 128,), (0,)),
}
# Operators that the format has for real numbers alone: they are computed between a Dequantize and a Quantize.
REAL = (LocalResponseNorm,)


def quantize_int8(
    graph: Graph,
    workspace: Workspace,
    ranges: Mapping[Value, Range],
    pixels: QuantParams,
    input_type: EdgeType = "uint8",
    output_type: EdgeType = "float32",
) -> tuple[Graph, Workspace]:
    """Return the graph with int8 activations, int8 weights and int32 biases.

    `ranges` comes from `calibrate`; `pixels` are the uint8 parameters of the input. The graph starts with a Quantize
    from `input_type` to int8 and ends with a Dequantize to float32 or a Quantize to uint8; nothing between is a float,
    but for local response norms, which no runtime has on integers.

    Raises:
        ExportError: operators that have no 8-bit form, all of them named.
    """
    _refuse_unsupported(graph)
    parameters = _parameters(graph, ranges, pixels)
    g, arrays = Builder(f"{graph.name}_int8"), Workspace()
    renamed = {Value(INPUT): _quantized_input(g, graph, pixels, input_type)}
    for node in graph.nodes:
        _add_node(g, arrays, graph, workspace, node, renamed, parameters)
    logits = renamed[Value(OUTPUT)]
    quant = parameters[Value(OUTPUT)]
    scale, zero_point = quant.scale[0], quant.zero_point[0]
    last: Op = Dequantize(scale, zero_point) if output_type == "float32" else Quantize(scale, zero_point + 128, "uint8")
    result = g.add(last, logits, name=OUTPUT)
    return g.build(result), arrays


def _refuse_unsupported(graph: Graph) -> None:
    known = (*WEIGHT_AXIS, *SAME_PARAMETERS, *RESCALING, *FIXED, *REAL)
    wrong = [f"{node.op.name} ({node.outputs[0]})" for node in graph.nodes if not isinstance(node.op, known)]
    if wrong:
        raise ExportError(
            f"int8: no 8-bit form of {', '.join(wrong)}; export with quantize='dynamic' or 'fp16' instead"
        )


def _quantized_input(g: Builder, graph: Graph, pixels: QuantParams, input_type: EdgeType) -> Value:
    shape = graph.specs[Value(INPUT)].shape
    # int8 is uint8 moved by 128: the same pixel, the same real number.
    op = Quantize(pixels.scale[0], pixels.zero_point[0] - 128)
    spec = Spec(shape, "uint8", pixels) if input_type == "uint8" else Spec(shape)
    image = g.input(INPUT, spec)
    return g.add(op, image, name=f"{INPUT}.int8")


def _parameters(graph: Graph, ranges: Mapping[Value, Range], pixels: QuantParams) -> dict[Value, QuantParams]:
    """Choose the parameters of every activation; those that must be equal are chosen together."""
    group: dict[Value, Value] = {}

    def find(value: Value) -> Value:
        while group.setdefault(value, value) != value:
            value = group[value]
        return value

    def computed(node: Node) -> list[Value]:
        return [value for value in node.inputs if value not in graph.params]

    for node in graph.nodes:
        if isinstance(node.op, SAME_PARAMETERS):
            for value in (*computed(node), *node.outputs):
                group[find(value)] = find(node.outputs[0])
    image = Value(INPUT)
    fixed = {find(image): QuantParams(pixels.scale, (pixels.zero_point[0] - 128,))}
    for node in graph.nodes:
        if type(node.op) in FIXED:
            fixed.setdefault(find(node.output), FIXED[type(node.op)])
    covered: dict[Value, Range] = {}
    values = [image, *(value for node in graph.nodes for value in node.outputs)]
    for value in values:
        root = find(value)
        covered[root] = ranges[value] if root not in covered else covered[root].union(ranges[value])
    return {value: fixed.get(find(value)) or activation_parameters(covered[find(value)]) for value in values}


def _add_node(
    g: Builder,
    arrays: Workspace,
    graph: Graph,
    workspace: Workspace,
    node: Node,
    renamed: dict[Value, Value],
    parameters: Mapping[Value, QuantParams],
) -> None:
    if isinstance(node.op, REAL):
        renamed[node.output] = _computed_on_reals(g, node, renamed, parameters)
        return
    inputs = [_operand(g, arrays, workspace, node, index, renamed, parameters) for index in range(len(node.inputs))]
    outputs = [Spec(graph.specs[value].shape, "int8", parameters[value]) for value in node.outputs]
    # The final value's own name goes to what leaves the graph.
    name = f"{OUTPUT}.int8" if node.outputs[0] == OUTPUT else node.outputs[0]
    renamed.update(zip(node.outputs, g.append(node.op, inputs, outputs, name=name), strict=True))


def _computed_on_reals(
    g: Builder, node: Node, renamed: Mapping[Value, Value], parameters: Mapping[Value, QuantParams]
) -> Value:
    x, before, after = node.inputs[0], parameters[node.inputs[0]], parameters[node.output]
    real = g.add(Dequantize(before.scale[0], before.zero_point[0]), renamed[x], name=f"{node.output}.real_input")
    y = g.add(node.op, real, name=f"{node.output}.real")
    return g.add(Quantize(after.scale[0], after.zero_point[0]), y, name=node.output)


def _operand(
    g: Builder,
    arrays: Workspace,
    workspace: Workspace,
    node: Node,
    index: int,
    renamed: Mapping[Value, Value],
    parameters: Mapping[Value, QuantParams],
) -> Value:
    value = node.inputs[index]
    if value in renamed:
        return renamed[value]
    array = workspace[value]
    if type(node.op) not in WEIGHT_AXIS:  # a constant that is added, compared, joined
        shared = isinstance(node.op, SAME_PARAMETERS)
        quant = (
            parameters[node.outputs[0]]
            if shared
            else activation_parameters(Range(float(array.min()), float(array.max())))
        )
        stored = np.clip(np.round(array / quant.scale[0]) + quant.zero_point[0], -128, 127).astype(np.int8)
    elif index == 1:
        stored, quant = quantize_weights(array, WEIGHT_AXIS[type(node.op)])
    else:
        _, weights = quantize_weights(workspace[node.inputs[1]], WEIGHT_AXIS[type(node.op)])
        stored, quant = quantize_bias(array, parameters[node.inputs[0]].scale[0], weights)
    # A weight used by two nodes has one copy for each: its bias depends on the input's scale.
    name = value if value not in arrays else f"{value}:{node.outputs[0]}"
    arrays[name] = stored
    return g.param(name, Spec(stored.shape, stored.dtype.name, quant))
