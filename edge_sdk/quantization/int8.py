"""The pass that turns a float inference graph into one on integers, by the rules of TFLite's specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT, OUTPUT
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.parameters import (
    Range,
    activation_parameters,
    narrowed,
    quantize_bias,
    round_weights,
    weight_parameters,
    widened,
)
from edge_sdk.quantization.rules import (
    SAME_PARAMETERS,
    WEIGHT_AXIS,
    activation_parameters_of,
    never_negative,
    precision_of,
    refuse_unsupported,
    stored_types,
    weight_axis,
    weight_bits,
)
from edge_sdk.quantization.scheme import ActivationType, LayerPrecision, Scheme
from edge_sdk.spec import Array, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

EdgeType = Literal["uint8", "float32"]


def quantize_int8(
    graph: Graph,
    workspace: Workspace,
    ranges: Mapping[Value, Range],
    pixels: QuantParams,
    input_type: EdgeType = "uint8",
    output_type: EdgeType = "float32",
) -> tuple[Graph, Workspace]:
    """Return the graph with int8 activations, int8 weights and int32 biases, by the default scheme.

    `ranges` comes from `calibrate`; `pixels` are the uint8 parameters of the input. The graph starts with a Quantize
    from `input_type` to int8 and ends with a Dequantize to float32 or a Quantize to uint8; nothing between is a float,
    but for local response norms, which no runtime has on integers.

    Raises:
        ExportError: operators that have no 8-bit form, all of them named.
    """
    scheme = Scheme()
    refuse_unsupported(graph, scheme)
    decisions = Decisions(scheme, activation_parameters_of(graph, ranges, pixels, scheme))
    return to_integers(graph, workspace, decisions, input_type, output_type)


@dataclass(frozen=True)
class Decisions:
    """What is known before a graph is rewritten.

    Attributes:
        scheme: The precision of every layer.
        activations: The parameters of every activation.
        weight_parameters: Those of weights, where the largest magnitude does not decide.
        rounded: Stored weights, where they are not the nearest integers.
    """

    scheme: Scheme
    activations: Mapping[Value, QuantParams]
    weight_parameters: Mapping[Value, QuantParams] = field(default_factory=dict)
    rounded: Mapping[Value, Array] = field(default_factory=dict)

    def weight(self, node: Node, weights: Array) -> QuantParams:
        """Return the parameters of a node's weights."""
        decided = self.weight_parameters.get(node.inputs[1])
        bits = weight_bits(node, self.scheme)
        return decided or weight_parameters(weights, weight_axis(node, self.scheme), bits)

    def stored_weight(self, node: Node, weights: Array) -> Array:
        """Return a node's weights as they are stored.

        Raises:
            UsageError: stored weights were decided for weights of another shape, or of another type.
        """
        value = node.inputs[1]
        if value not in self.rounded:
            return round_weights(weights, self.weight(node, weights))
        stored = self.rounded[value]
        if stored.shape != weights.shape or stored.dtype != np.int8:
            raise UsageError(f"rounded: {value!r} is {stored.dtype}{list(stored.shape)}; wanted int8{weights.shape}")
        return stored


def to_integers(
    graph: Graph, workspace: Workspace, decisions: Decisions, input_type: EdgeType, output_type: EdgeType
) -> tuple[Graph, Workspace]:
    """Return the graph that computes with stored integers.

    Values keep their names. Where a node computes on real numbers and an integer one reads its result, the stored form
    has the name, and the real one NAME.real; the last value's name goes to what leaves the graph.
    """
    writing = _Writing(graph, workspace, decisions, output_type)
    writing.image(input_type)
    for node in graph.nodes:
        writing.node(node)
    return writing.result()


class Form(NamedTuple):
    """A type of stored numbers, and what they mean."""

    dtype: str
    quant: QuantParams


class _Writing:
    """A graph on integers while it is made. A value is there as real numbers, or as stored ones, in a form or two."""

    def __init__(self, graph: Graph, workspace: Workspace, decisions: Decisions, output_type: EdgeType) -> None:
        self._graph = graph
        self._workspace = workspace
        self._decisions = decisions
        self._output_type = output_type
        self._g = Builder(f"{graph.name}_int8")
        self._arrays = Workspace()
        self._types = stored_types(graph, decisions.scheme)
        self._stored: dict[tuple[Value, Form], Value] = {}
        self._real: dict[Value, Value] = {}

    def image(self, input_type: EdgeType) -> None:
        """Declare the input; int8 is uint8 moved by 128: the same pixel, the same real number.

        Layers of 16 bits read the same number, too, in finer steps.
        """
        image = Value(INPUT)
        quant = self._decisions.activations[image]
        shape = self._graph.specs[image].shape
        pixels = QuantParams(quant.scale, (quant.zero_point[0] + 128,))
        declared = self._g.input(INPUT, Spec(shape, "uint8", pixels) if input_type == "uint8" else Spec(shape))
        if input_type == "float32":
            self._real[image] = declared
        read = {self._precision(node) for node in self._graph.consumers(image)} - {"float32"}
        if input_type == "uint8" and not read:
            read = {"int8"}
        for stored in sorted(read):
            form = self._form(image, cast(ActivationType, stored))
            self._stored[image, form] = self._g.add(_quantize(form), declared, name=f"{INPUT}.{stored}")

    def node(self, node: Node) -> None:
        """Add a node in its precision."""
        if self._reads_integers(node):
            self._integer_node(node)
        else:
            self._real_node(node)

    def result(self) -> tuple[Graph, Workspace]:
        """Add what leaves the graph, and return it."""
        logits = Value(OUTPUT)
        small = self._form(logits, "int8").quant
        pixels = Form("uint8", QuantParams(small.scale, (small.zero_point[0] + 128,)))
        if logits in self._real:
            last = self._real[logits]
            if self._output_type == "uint8":
                last = self._g.add(_quantize(pixels), last, name=OUTPUT)
        elif self._output_type == "uint8":  # from 16 bits over 8: no runtime has that in one step
            last = self._g.add(_quantize(pixels), self._stored_form(logits, Form("int8", small)), name=OUTPUT)
        else:
            own = self._own_form(logits)
            last = self._g.add(_dequantize(own.quant), self._stored[logits, own], name=OUTPUT)
        return self._g.build(last), self._arrays

    def _precision(self, node: Node) -> LayerPrecision:
        return precision_of(node, self._decisions.scheme)

    def _reads_integers(self, node: Node) -> bool:
        return self._precision(node) != "float32"

    def _own_form(self, value: Value) -> Form:
        """As what an activation is stored where it is computed."""
        return Form(self._types[value], self._decisions.activations[value])

    def _form(self, value: Value, wanted: ActivationType) -> Form:
        """As what an activation is read by nodes of a precision."""
        own = self._own_form(value)
        if own.dtype == wanted:
            return own
        if wanted == "int16":
            return Form("int16", widened(own.quant))
        return Form("int8", narrowed(own.quant, positive=never_negative(self._graph, value)))

    def _integer_node(self, node: Node) -> None:
        inputs = [self._integer_operand(node, index) for index in range(len(node.inputs))]
        forms = [self._own_form(value) for value in node.outputs]
        outputs = [
            Spec(self._graph.specs[value].shape, form.dtype, form.quant)
            for value, form in zip(node.outputs, forms, strict=True)
        ]
        written = self._g.append(node.op, inputs, outputs, name=_stored_name(node.outputs[0], forms[0]))
        self._stored.update(zip(zip(node.outputs, forms, strict=True), written, strict=True))

    def _real_node(self, node: Node) -> None:
        inputs = [self._real_operand(node, value) for value in node.inputs]
        outputs = [self._graph.specs[value] for value in node.outputs]
        written = self._g.append(node.op, inputs, outputs, name=self._real_name(node.outputs[0]))
        for value, real in zip(node.outputs, written, strict=True):
            self._real[value] = real
            if any(self._reads_integers(reader) for reader in self._graph.consumers(value)):
                form = self._own_form(value)
                self._stored[value, form] = self._g.add(_quantize(form), real, name=_stored_name(value, form))

    def _real_name(self, value: Value) -> str:
        read = any(self._reads_integers(reader) for reader in self._graph.consumers(value))
        leaves = value == OUTPUT and self._output_type == "uint8"
        return f"{value}.real" if leaves or (read and value != OUTPUT) else value

    def _integer_operand(self, node: Node, index: int) -> Value:
        value, precision = node.inputs[index], cast(ActivationType, self._precision(node))
        if value in self._decisions.activations:
            # Who moves numbers takes them as its result has them; anyone else, as they were computed.
            moves = isinstance(node.op, SAME_PARAMETERS)
            return self._stored_form(value, self._own_form(node.outputs[0]) if moves else self._form(value, precision))
        array = self._workspace[value]
        if type(node.op) not in WEIGHT_AXIS:  # a constant that is added, compared, joined
            quant = self._constant_parameters(node, array, precision)
            limits = np.iinfo(precision)
            steps = np.round(array / quant.scale[0]) + quant.zero_point[0]
            stored = np.clip(steps, limits.min, limits.max).astype(precision)
        elif index == 1:
            quant = self._decisions.weight(node, array)
            stored = self._decisions.stored_weight(node, array)
        else:
            weights = self._decisions.weight(node, self._workspace[node.inputs[1]])
            (scale,) = self._form(node.inputs[0], precision).quant.scale
            stored, quant = quantize_bias(array, scale, weights, precision)
        return self._param(node, value, stored, quant)

    def _real_operand(self, node: Node, value: Value) -> Value:
        if value not in self._decisions.activations:
            return self._param(node, value, self._workspace[value], None)
        if value not in self._real:
            form = self._computed_form(value)
            name = f"{node.outputs[0]}.real_input"
            self._real[value] = self._g.add(_dequantize(form.quant), self._stored[value, form], name=name)
        return self._real[value]

    def _computed_form(self, value: Value) -> Form:
        """The form that is there first; of the image it is that of its readers."""
        own = self._own_form(value)
        return own if (value, own) in self._stored else self._form(value, "int16")

    def _stored_form(self, value: Value, wanted: Form) -> Value:
        if (value, wanted) not in self._stored:
            form = self._computed_form(value)
            name = f"{value}.rescaled" if wanted.dtype == form.dtype else f"{value}.{wanted.dtype}"
            self._stored[value, wanted] = self._g.add(
                _quantize(wanted), self._stored[value, form], name=self._free(name)
            )
        return self._stored[value, wanted]

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self._g.specs:
            number += 1
            free = f"{name}.{number}"
        return free

    def _constant_parameters(self, node: Node, array: Array, precision: ActivationType) -> QuantParams:
        if isinstance(node.op, SAME_PARAMETERS):
            return self._decisions.activations[node.outputs[0]]
        seen = Range(float(array.min()), float(array.max()))
        return activation_parameters(seen, self._decisions.scheme.symmetric, precision)

    def _param(self, node: Node, value: Value, array: Array, quant: QuantParams | None) -> Value:
        # A weight used by two nodes has one copy for each: its bias depends on the input's scale.
        name = value if value not in self._arrays else Value(f"{value}:{node.outputs[0]}")
        self._arrays[name] = array
        return self._g.param(name, Spec(array.shape, array.dtype.name, quant))


def _stored_name(value: Value, form: Form) -> str:
    """The final value's own name goes to what leaves the graph."""
    return f"{OUTPUT}.{form.dtype}" if value == OUTPUT else value


def _quantize(form: Form) -> Quantize:
    return Quantize(form.quant.scale[0], form.quant.zero_point[0], form.dtype)


def _dequantize(quant: QuantParams) -> Dequantize:
    return Dequantize(quant.scale[0], quant.zero_point[0])
