"""From the SDK's operators to ONNX's: the registry of writers, and what they write into."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.onnx_graph import IMAGE_RANK, OnnxGraph, Written
from edge_sdk.errors import ExportError
from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.quantization.parameters import quantize_weights
from edge_sdk.spec import Array, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from onnx import GraphProto

Weights = Literal["float32", "float16", "int8"]
"""How weights are stored; activations stay float32 unless the graph is quantized."""
ImageLayout = Literal["nchw", "nhwc"]
"""In which order of axes the file takes photos."""

SMALLEST_REDUCED_WEIGHT = 1024
"""Weights with fewer elements stay float32 whatever is asked for: nothing would be saved."""
INT16_OPSET = 21
"""The first opset whose QuantizeLinear knows 16 bits."""

WriteFunction = Callable[["Writing", Any, Node], None]
F = TypeVar("F", bound=WriteFunction)
WRITERS: dict[type[Op], WriteFunction] = {}
"""Every operator that can be written, by its class."""

_FAMILIES = (
    "activation", "control", "conv", "elementwise", "functions", "indexing", "linear", "logic", "norm", "pool",
    "reduce", "resize", "shape",
)  # fmt: skip
_WHOLE = QuantParams((1.0,), (0,))


def writes(*ops: type[Op]) -> Callable[[F], F]:
    """Register the function that writes operators of these classes with ONNX's."""

    def register(function: F) -> F:
        for op in ops:
            if op in WRITERS:
                raise TypeError(f"operator {op.name!r} is written to ONNX twice")
            WRITERS[op] = function
        return function

    return register


def writers() -> Mapping[type[Op], WriteFunction]:
    """The whole table, from every family's file."""
    for family in _FAMILIES:
        importlib.import_module(f"edge_sdk.converters.onnx.write_{family}")
    return WRITERS


class Writing(OnnxGraph):
    """Writes the nodes of a graph as those of an ONNX graph.

    An operator's function reads its inputs, declares its outputs in the layout that it makes, and emits ONNX nodes. It
    sees real numbers only: a value that the graph stores as integers is dequantized where it is read, and what is
    declared for it is quantized behind the operator. That is ONNX's form of an 8-bit network (QDQ).

    Attributes:
        graph: What is written.
        float_weights: Names of weights that stay float32 although less was asked for.
    """

    def __init__(self, graph: Graph, workspace: Workspace, opset: int, weights: Weights = "float32") -> None:
        super().__init__(opset, graph.specs)
        self.graph = graph
        self.workspace = workspace
        self.weights = weights
        self.float_weights: list[str] = []
        self._real: dict[Value, Written] = {}
        self._stored: dict[Value, Written] = {}
        self._to_quantize: list[Value] = []
        self._constants: dict[tuple[Value, Layout], Written] = {}

    def run(self, image_layout: ImageLayout) -> GraphProto:
        """Write inputs, nodes and outputs; raises ExportError for what ONNX, or this opset of it, does not have."""
        self._check()
        inputs = [self._input(value, image_layout) for value in self.graph.inputs]
        for node in self.graph.nodes:
            WRITERS[type(node.op)](self, node.op, node)
            for value in self._to_quantize:
                self.quantize(value, self._real.pop(value))
            self._to_quantize.clear()
        outputs = [self._output(value) for value in self.graph.outputs]
        return self.build(self.graph.name, inputs, outputs)

    def spec(self, value: Value) -> Spec:
        """What the graph knows about a value."""
        return self.graph.specs[value]

    def is_constant(self, value: Value) -> bool:
        """Tell whether a value is a parameter, whose numbers are known now."""
        return value in self.graph.params

    def no_form(self, node: Node, why: str) -> ExportError:
        """The error that names a node."""
        return ExportError(f"no form in ONNX files of {node.op.name} (node {node.outputs[0]!r}) {why}")

    def read(self, value: Value, layout: Layout | None = None) -> Written:
        """Return the real numbers of a value, in the layout that it has or in another one.

        A parameter becomes an initializer, turned once, when it is first read; what is computed gets a Transpose.
        """
        if self.is_constant(value):
            return self._constant(value, layout or plain(self.spec(value).rank))
        if value not in self._real:
            self._real[value] = self._dequantized(self._stored[value])
        tensor = self._real[value]
        return tensor if layout is None else self.arranged(tensor, layout)

    def image(self, value: Value) -> Written:
        """Return images (n, h, w, c) as ONNX's operators take them, (n, c, h, w)."""
        return self.read(value, channels_last(self.spec(value).rank))

    def declare(self, value: Value, layout: Layout) -> Written:
        """Return the tensor that a node's output is to be written into."""
        spec = self.spec(value)
        if spec.quant is None:
            tensor = Written(self._name_of(value, layout), layout, spec)
        else:
            tensor = self.temporary(f"{value}/real", layout, Spec(spec.shape))
            self._to_quantize.append(value)
        self._real[value] = tensor
        return tensor

    def declare_image(self, value: Value) -> Written:
        """Return the tensor of an output that is images."""
        return self.declare(value, channels_last(self.spec(value).rank))

    def alias(self, value: Value, source: Value) -> None:
        """Let a value be one that is there already."""
        self._real[value] = self.read(source)
        if source in self._stored:
            self._stored[value] = self._stored[source]

    def rename(self, value: Value, x: Written, layout: Layout) -> None:
        """Let a value be a tensor that is there already, held in another order of axes."""
        spec = self.spec(value)
        if spec.quant is None:
            self._real[value] = Written(x.name, layout, spec)
        else:
            self.quantize(value, Written(x.name, layout, Spec(spec.shape)))

    def alias_real(self, value: Value, source: Value) -> None:
        """Let a value be the real numbers that another one stands for."""
        self._real[value] = self.read(source)

    def quantize(self, value: Value, real: Written) -> None:
        """Write the integers of a value, of which real numbers are there."""
        spec = self.spec(value)
        stored = Written(self._name_of(value, real.layout), real.layout, spec)
        quant = spec.quant or _WHOLE
        scale, zero = np.array(quant.scale[0], np.float32), np.array(quant.zero_point[0], spec.numpy_dtype)
        self.emit("QuantizeLinear", [real, self.numbers(scale), self.numbers(zero)], stored)
        self._stored[value] = stored

    def weight(self, value: Value, layout: Layout, axis: int) -> Written:
        """Return a weight in the precision asked for; `axis`, as it is held, is that of the output channels."""
        spec = self.spec(value)
        if self.weights == "float32" or not self.is_constant(value) or spec.dtype != "float32":
            return self.read(value, layout)
        if (value, layout) not in self._constants:
            self._constants[value, layout] = self._reduced(value, layout, axis) or self._constant(value, layout)
        return self._constants[value, layout]

    def _check(self) -> None:
        known = writers()
        unknown = [f"{node.op.name} ({node.outputs[0]})" for node in self.graph.nodes if type(node.op) not in known]
        if unknown:
            raise ExportError(f"no form in ONNX files of {', '.join(unknown)}")
        if self.graph.updates:
            raise ExportError(f"graph {self.graph.name!r} updates its weights; wanted the forward graph of a Model")
        for value, spec in self.graph.specs.items():
            if 0 in spec.shape:
                raise ExportError(f"{value!r} is {spec}, without elements; runtimes of ONNX take no such tensors")
            if spec.quant is not None and spec.dtype == "int16" and self.opset < INT16_OPSET:
                raise ExportError(f"{value!r} is {spec}: 16 bits need opset {INT16_OPSET} or later, got {self.opset}")

    def _input(self, value: Value, image_layout: ImageLayout) -> Written:
        spec = self.spec(value)
        images = image_layout == "nchw" and spec.rank == IMAGE_RANK
        tensor = Written(value, channels_last(IMAGE_RANK) if images else plain(spec.rank), spec)
        (self._real if spec.quant is None else self._stored)[value] = tensor
        return tensor

    def _output(self, value: Value) -> Written:
        """The tensor of an output, under its name and in the graph's own order of axes."""
        found = self._stored[value] if value in self._stored else self.read(value)
        wanted = Written(value, plain(found.rank), self.spec(value))
        if (found.name, found.layout) != (wanted.name, wanted.layout):
            self.move(found, wanted)
        return wanted

    def _name_of(self, value: Value, layout: Layout) -> str:
        """An output that is made in another order of axes than it leaves the graph in has a name of its own there."""
        inside = value in self.graph.outputs and layout != plain(layout.rank)
        return self.free(f"{value}/inside") if inside else value

    def _constant(self, value: Value, layout: Layout) -> Written:
        if (value, layout) not in self._constants:
            spec, array = self.spec(value), self.workspace[value]
            if spec.quant is not None and spec.dtype == "int64":
                # DequantizeLinear takes no 64 bits: the biases of 16-bit activations are stored as what they stand for.
                array, spec = _real(array, spec.quant), Spec(spec.shape)
            stored = self.initializer(self._name_of_constant(value), layout.release(array), layout, spec)
            self._constants[value, layout] = stored if spec.quant is None else self._dequantized(stored)
        return self._constants[value, layout]

    def _name_of_constant(self, value: Value) -> str:
        again = any(known == value for known, _ in self._constants)
        return self.free(f"{value}/turned") if again or value in self.graph.outputs else value

    def _reduced(self, value: Value, layout: Layout, axis: int) -> Written | None:
        """A weight stored in fewer bits, as float32 again; None where it has to stay as it is."""
        array, spec = self.workspace[value], self.spec(value)
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        beyond = self.weights == "float16" and not np.isfinite(half).all()  # ±65504
        if array.size < SMALLEST_REDUCED_WEIGHT or beyond:
            self.float_weights.append(value)
            return None
        name = self._name_of_constant(value)
        if self.weights == "int8":
            whole, quant = quantize_weights(array, axis)
            stored = self.initializer(name, layout.release(whole), layout, Spec(array.shape, "int8", quant))
            return self._dequantized(stored)
        stored = self.initializer(name, layout.release(half), layout, Spec(array.shape, "float16"))
        real = self.temporary(f"{value}/float32", layout, spec)
        self.emit("Cast", [stored], real, to=self.dtype_code("float32"))
        return real

    def _dequantized(self, stored: Written) -> Written:
        quant = stored.spec.quant or _WHOLE
        real = self.temporary(f"{stored.name}/dequantized", stored.layout, Spec(stored.spec.shape))
        scale, zero = np.array(quant.scale, np.float32), np.array(quant.zero_point, stored.spec.numpy_dtype)
        attributes: dict[str, int] = {}
        if quant.axis is None:
            scale, zero = scale.reshape(()), zero.reshape(())
        else:
            attributes["axis"] = stored.axis(quant.axis)
        # Biases of 32 bits have no zero point: ONNX knows none for them.
        given = [stored, self.numbers(scale), *([] if stored.spec.dtype == "int32" else [self.numbers(zero)])]
        self.emit("DequantizeLinear", given, real, **attributes)
        return real


def _real(stored: Array, quant: QuantParams) -> Array:
    """The float32 numbers that integers stand for, with a zero point of 0."""
    scale = np.asarray(quant.scale, np.float64)
    if quant.axis is not None:
        scale = scale.reshape([-1 if axis == quant.axis else 1 for axis in range(stored.ndim)])
    return np.asarray(stored * scale, np.float32)
