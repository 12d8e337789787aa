"""From graph to subgraph: the registry of lowering functions, and what they work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from edge_sdk.converters.tflite.flatfile import FlatModel, Subgraph, TensorId
from edge_sdk.converters.tflite.options import DequantizeOptions
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options
from edge_sdk.errors import ExportError
from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.geometry import Activation
from edge_sdk.quantization.parameters import quantize_weights
from edge_sdk.spec import BATCH, Array, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

Precision = Literal["none", "fp16", "dynamic", "int8"]
Lower = Callable[["Lowering", Node, Any], None]
Function = TypeVar("Function", bound=Lower)

_LOWERINGS: dict[type[Op], Lower] = {}

ACTIVATIONS: Mapping[Activation, FusedActivation] = {
    None: FusedActivation.NONE,
    "relu": FusedActivation.RELU,
    "relu6": FusedActivation.RELU6,
}

# Oldest versions that every runtime since 2.12 takes (tflite/converter/tools/versioning/op_version.cc).
INT8_VERSIONS: Mapping[Builtin, int] = {
    Builtin.CONV_2D: 3, Builtin.DEPTHWISE_CONV_2D: 3, Builtin.FULLY_CONNECTED: 4, Builtin.ADD: 2, Builtin.MUL: 2,
    Builtin.SUB: 2, Builtin.MAX_POOL_2D: 2, Builtin.AVERAGE_POOL_2D: 2, Builtin.SOFTMAX: 2, Builtin.MEAN: 2,
    Builtin.LOGISTIC: 2, Builtin.TANH: 2, Builtin.CONCATENATION: 2, Builtin.RELU: 2, Builtin.RELU6: 2, Builtin.PAD: 2,
    Builtin.PADV2: 2, Builtin.LEAKY_RELU: 2, Builtin.MAXIMUM: 2, Builtin.MINIMUM: 2, Builtin.RESIZE_BILINEAR: 3,
    Builtin.RESIZE_NEAREST_NEIGHBOR: 3, Builtin.SLICE: 2, Builtin.SPLIT_V: 2, Builtin.TRANSPOSE: 2,
    Builtin.DEQUANTIZE: 2, Builtin.HARD_SWISH: 1,
}  # fmt: skip


def lower(op: type[Op]) -> Callable[[Function], Function]:
    """Register the decorated function as the lowering of `op`: it is called with (lowering, node, node.op)."""

    def bind(function: Function) -> Function:
        if op in _LOWERINGS:
            raise TypeError(f"{op.name} already has a TFLite lowering: {_LOWERINGS[op].__module__}")
        _LOWERINGS[op] = function
        return function

    return bind


def has_lowering(op: type[Op]) -> bool:
    """Whether an operator can be written to a .tflite file."""
    return op in _LOWERINGS


@dataclass
class Lowering:
    """One graph on its way into one subgraph. `float_weights` collects weights that a precision left in float."""

    graph: Graph
    workspace: Workspace
    subgraph: Subgraph
    precision: Precision
    tensors: dict[Value, TensorId] = field(default_factory=dict)
    float_weights: list[str] = field(default_factory=list)
    helpers: int = 0

    def run(self) -> None:
        """Lower every node; raises ExportError that names all operators without a lowering."""
        wrong = [f"{node.op.name} ({node.outputs[0]})" for node in self.graph.nodes if type(node.op) not in _LOWERINGS]
        if wrong:
            raise ExportError(f".tflite has no form of {', '.join(wrong)}")
        for value in self.graph.inputs:
            self.tensor(value)
        for node in self.graph.nodes:
            _LOWERINGS[type(node.op)](self, node, node.op)
        self.subgraph.inputs = tuple(self.tensors[value] for value in self.graph.inputs)
        self.subgraph.outputs = tuple(self.tensor(value) for value in self.graph.outputs)

    def spec(self, value: Value) -> Spec:
        """What is known about a value."""
        return self.graph.specs[value]

    def quantized(self, value: Value) -> bool:
        """Whether a value is stored as 8-bit integers."""
        return self.spec(value).dtype == "int8"

    def tensor(self, value: Value) -> TensorId:
        """The tensor of a value: an activation, or a parameter with its array."""
        if value not in self.tensors:
            spec = self.spec(value)
            data = self.workspace[value] if value in self.graph.params else None
            self.tensors[value] = self.subgraph.tensor(value, spec.shape, spec.dtype, data, spec.quant)
        return self.tensors[value]

    def weight(self, value: Value, axis: int | None, *, dynamic: bool = True) -> TensorId:
        """The tensor of a layer's weights, stored as the precision asks; `dynamic` says if there is such a kernel."""
        if value in self.tensors or self.spec(value).dtype != "float32" or value not in self.graph.params:
            return self.tensor(value)
        array = self.workspace[value]
        if self.precision == "fp16":
            half = self.constant(array.astype(np.float16), f"{value}.half")
            self.tensors[value] = self.subgraph.tensor(value, array.shape, "float32")
            self.subgraph.operator(Builtin.DEQUANTIZE, [half], [self.tensors[value]], DequantizeOptions(), 3)
        elif self.precision == "dynamic" and dynamic:
            stored, quant = quantize_weights(array, axis)
            self.tensors[value] = self.subgraph.constant(value, stored, quant)
        else:
            if self.precision == "dynamic":
                self.float_weights.append(value)
            self.tensor(value)
        return self.tensors[value]

    def constant(self, data: Array, name: str = "", quant: QuantParams | None = None) -> TensorId:
        """A constant that the graph does not have, such as a shape."""
        return self.subgraph.constant(name or self._name("constant"), data, quant)

    def between(self, like: Value, shape: Sequence[int], name: str = "") -> TensorId:
        """An intermediate tensor with the dtype and quantization of a value."""
        spec = self.spec(like)
        return self.subgraph.tensor(name or self._name(like), shape, spec.dtype, None, spec.quant)

    def emit(
        self,
        code: Builtin,
        inputs: Sequence[TensorId],
        outputs: Sequence[TensorId],
        options: Options | None = None,
        *,
        int8: bool = False,
        version: int | None = None,
    ) -> None:
        """Append a builtin operator, in the version that its element type asks for."""
        chosen = version if version is not None else INT8_VERSIONS.get(code, 1) if int8 else 1
        self.subgraph.operator(code, inputs, outputs, options, chosen)

    def simple(self, node: Node, code: Builtin, options: Options | None = None) -> None:
        """Append an operator that takes and gives just the node's values."""
        inputs = [self.tensor(value) for value in node.inputs]
        outputs = [self.tensor(value) for value in node.outputs]
        self.emit(code, inputs, outputs, options, int8=self.quantized(node.outputs[0]))

    def _name(self, hint: str) -> str:
        self.helpers += 1
        return f"{hint}/{self.helpers}"


def shape_of(spec: Spec) -> tuple[int, ...]:
    """A shape as RESHAPE wants it: -1 for the open batch."""
    return tuple(BATCH if size == BATCH else size for size in spec.shape)


def new_model(description: str) -> tuple[FlatModel, Subgraph]:
    """An empty file with its main subgraph."""
    model = FlatModel(description)
    return model, model.subgraph("main")
