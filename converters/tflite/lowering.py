"""From the SDK's operators to TFLite's: the registry of lowerings, and what they write into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from edge_sdk.converters.tflite.flatfile import FlatModel, TensorId
from edge_sdk.converters.tflite.options import ReshapeOptions
from edge_sdk.converters.tflite.runtime_table import Runtime, show
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options, TensorType
from edge_sdk.converters.tflite.versions import first_runtime, has_version, operator_version
from edge_sdk.errors import ExportError
from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.quantization.parameters import quantize_weights
from edge_sdk.spec import Array, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

Weights = Literal["float32", "float16", "int8"]
"""How weights are stored; activations stay float32 unless the graph is quantized."""

SMALLEST_QUANTIZED_WEIGHT = 1024
"""Weights with fewer elements stay float32 in a file with int8 weights: nothing would be saved (TFLite's own limit)."""

LowerFunction = Callable[["Lowering", Any, Node], None]
F = TypeVar("F", bound=LowerFunction)
LOWERINGS: dict[type[Op], LowerFunction] = {}

_NO_INTEGERS = frozenset({"int16", "int32", "int64", "uint8", "bool"})
UNSUPPORTED = {
    **dict.fromkeys(
        (
            Builtin.EXP, Builtin.LOG, Builtin.SQRT, Builtin.SQUARE, Builtin.RELU, Builtin.RELU6, Builtin.LOGISTIC,
            Builtin.TANH, Builtin.HARD_SWISH, Builtin.LEAKY_RELU, Builtin.PRELU, Builtin.GELU, Builtin.SOFTMAX,
            Builtin.LOG_SOFTMAX, Builtin.LOCAL_RESPONSE_NORMALIZATION, Builtin.AVERAGE_POOL_2D, Builtin.MAX_POOL_2D,
            Builtin.CONV_2D, Builtin.DEPTHWISE_CONV_2D, Builtin.FULLY_CONNECTED,
        ),
        _NO_INTEGERS,
    ),
    Builtin.ABS: _NO_INTEGERS - {"int32"},
    Builtin.DIV: _NO_INTEGERS - {"int32"},
}  # fmt: skip
"""Types that an operator's kernels refuse when they run, found in both runtimes; better to refuse them now."""
QUANTIZED_INT16 = frozenset(
    {
        Builtin.AVERAGE_POOL_2D, Builtin.CONV_2D, Builtin.DEPTHWISE_CONV_2D, Builtin.FULLY_CONNECTED,
        Builtin.LEAKY_RELU, Builtin.LOGISTIC, Builtin.MAX_POOL_2D, Builtin.RELU, Builtin.RELU6, Builtin.SOFTMAX,
        Builtin.TANH,
    }
)  # fmt: skip
"""Those of them that compute int16 nevertheless, where it has a scale."""

FUSED = {None: FusedActivation.NONE, "relu": FusedActivation.RELU, "relu6": FusedActivation.RELU6}


def lower(*ops: type[Op]) -> Callable[[F], F]:
    """Register the function that writes operators of these classes with TFLite's builtin ones."""

    def register(function: F) -> F:
        for op in ops:
            if op in LOWERINGS:
                raise TypeError(f"operator {op.name!r} is lowered twice")
            LOWERINGS[op] = function
        return function

    return register


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file and what is known about it."""

    id: TensorId
    name: str
    spec: Spec


class Lowering:
    """Writes the nodes of a graph into the main subgraph of a file.

    Attributes:
        graph: What is lowered.
        file: Where it goes.
        runtime: The oldest runtime that the file is for, or None for the oldest possible.
        float_weights: Names of weights that stay float32 although `weights` asks for less.
        tensors: The inputs and everything that is computed, in order.
        operators: The builtin operators written, in order.
    """

    def __init__(
        self, graph: Graph, workspace: Workspace, file: FlatModel, weights: Weights, runtime: Runtime | None = None
    ) -> None:
        self.graph = graph
        self.runtime = runtime
        self.workspace = workspace
        self.file = file
        self.weights = weights
        self.float_weights: list[str] = []
        self.tensors: list[Tensor] = []
        self.operators: list[Builtin] = []
        self.runtimes: set[Runtime] = set()
        self._main = file.subgraph("main")
        self._of_value: dict[Value, Tensor] = {}
        self._input_ids: set[TensorId] = set()

    def run(self) -> None:
        """Write inputs, nodes and outputs; raises ExportError for what the format does not have."""
        self._check()
        inputs = {value: self.declare(value) for value in self.graph.inputs}
        self._input_ids = {tensor.id for tensor in inputs.values()}
        for node in self.graph.nodes:
            LOWERINGS[type(node.op)](self, node.op, node)
        outputs: dict[str, TensorId] = {}
        for value in self.graph.outputs:
            outputs[value] = self._as_output(value, set(outputs.values())).id
        self._main.inputs = tuple(tensor.id for tensor in inputs.values())
        self._main.outputs = tuple(outputs.values())
        names = {str(value): tensor.id for value, tensor in inputs.items()}
        self.file.signature("serving_default", self._main, names, outputs)

    def may_use(self, code: Builtin, version: int) -> bool:
        """Tell whether the runtime asked for has a version of an operator that is better than an older form of it."""
        return has_version(self.runtime, code, version)

    def must_avoid(self, code: Builtin, version: int) -> bool:
        """Tell whether the runtime asked for lacks a version of an operator."""
        return self.runtime is not None and not has_version(self.runtime, code, version)

    def spec(self, value: Value) -> Spec:
        """What the graph knows about a value."""
        return self.graph.specs[value]

    def is_constant(self, value: Value) -> bool:
        """Tell whether a value is a parameter, whose numbers are known now."""
        return value in self.graph.params

    def array(self, value: Value) -> Array:
        """The numbers of a parameter; raises ExportError for a value that is computed."""
        if not self.is_constant(value):
            raise ExportError(f"{value!r} is computed, but in .tflite files it must be a constant")
        return self.workspace[value]

    def read(self, value: Value) -> Tensor:
        """Return the tensor of a value; a parameter becomes a constant when it is first read."""
        if value not in self._of_value and self.is_constant(value):
            self._of_value[value] = self.constant(value, self.array(value), self.spec(value).quant)
        return self._of_value[value]

    def declare(self, value: Value) -> Tensor:
        """Add the tensor of an input or of a node's output."""
        self._of_value[value] = self.temporary(value, self.spec(value))
        return self._of_value[value]

    def alias(self, value: Value, tensor: Tensor) -> None:
        """Let a value be a tensor that is there already."""
        self._of_value[value] = tensor

    def temporary(self, name: str, spec: Spec) -> Tensor:
        """Add a tensor that is no value of the graph, such as a padded image."""
        tensor = Tensor(self._main.tensor(name, spec.shape, spec.dtype, quant=spec.quant), name, spec)
        self.tensors.append(tensor)
        return tensor

    def constant(self, name: str, array: Array, quant: QuantParams | None = None) -> Tensor:
        """Add numbers as they are."""
        spec = Spec(array.shape, array.dtype.name, quant)
        return Tensor(self._main.constant(name, array, quant), name, spec)

    def weight(self, name: str, array: Array, quant: QuantParams | None, axis: int | None) -> Tensor:
        """Add a weight in the precision asked for; `axis` is that of the output channels, or None for one scale."""
        if array.dtype != np.float32 or self.weights == "float32":
            return self.constant(name, array, quant)
        if self.weights == "float16":
            return self._half_weight(name, array)
        if array.size < SMALLEST_QUANTIZED_WEIGHT:
            self.float_weights.append(name)
            return self.constant(name, array)
        stored, parameters = quantize_weights(array, axis)
        return self.constant(name, stored, parameters)

    def emit(
        self, code: Builtin, inputs: Sequence[Tensor], outputs: Sequence[Tensor], options: Options | None = None
    ) -> None:
        """Append a builtin operator, with the version that these types need."""
        first = inputs[0].spec if inputs else outputs[0].spec
        quantized = first.dtype == "int16" and first.quant is not None and code in QUANTIZED_INT16
        if first.dtype in UNSUPPORTED.get(code, ()) and not quantized:
            raise ExportError(f"{outputs[0].name!r}: {code.name} computes no {first.dtype}; cast to float32 first")
        version = operator_version(code, [t.spec for t in inputs], [t.spec for t in outputs], options)
        needed = first_runtime(code, version, [t.spec for t in inputs])
        if self.runtime is not None and needed > self.runtime:
            self._refuse(code, version, needed, outputs[0])
        self.operators.append(code)
        self.runtimes.add(needed)
        self._main.operator(code, [t.id for t in inputs], [t.id for t in outputs], options, version)

    def require(self, code: Builtin, needed: Runtime, output: Tensor) -> None:
        """Note that an operator, as it is used here, needs a newer runtime than its version says."""
        if self.runtime is not None and needed > self.runtime:
            self._refuse(code, 1, needed, output)
        self.runtimes.add(needed)

    def integers(self, name: str, numbers: Sequence[int]) -> Tensor:
        """Add whole numbers that an operator takes as an input, such as axes or a shape."""
        return self.constant(name, np.asarray(numbers, np.int32))

    def reshape(self, x: Tensor, y: Tensor) -> None:
        """Write y as x in y's shape, in which -1 is the open batch."""
        shape = self.integers(f"{y.name}/shape", y.spec.shape)
        self.emit(Builtin.RESHAPE, [x, shape], [y], ReshapeOptions(new_shape=y.spec.shape))

    def _refuse(self, code: Builtin, version: int, needed: Runtime, output: Tensor) -> None:
        raise ExportError(
            f"{output.name!r} ({output.spec}): {code.name} of version {version} is in TensorFlow Lite {show(needed)} "
            f"and later, and the file is to run in {show(self.runtime or needed)}; "
            f"ask for --min-runtime {show(needed)}, or change that layer of the network"
        )

    def _check(self) -> None:
        unknown = [f"{node.op.name} ({node.outputs[0]})" for node in self.graph.nodes if type(node.op) not in LOWERINGS]
        if unknown:
            raise ExportError(f"no form in .tflite files of {', '.join(unknown)}")
        if self.graph.updates:
            raise ExportError(f"graph {self.graph.name!r} updates its weights; wanted the forward graph of a Model")
        for value, spec in self.graph.specs.items():
            if spec.dtype == "float64" or spec.dtype not in TensorType.__members__:
                raise ExportError(f"{value!r} is {spec}; .tflite operators compute no {spec.dtype}")
            if 0 in spec.shape:
                raise ExportError(f"{value!r} is {spec}, without elements; .tflite runtimes take no such tensors")

    def _half_weight(self, name: str, array: Array) -> Tensor:
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if not np.isfinite(half).all():  # beyond ±65504
            self.float_weights.append(name)
            return self.constant(name, array)
        tensor = Tensor(self._main.tensor(name, array.shape, "float32"), name, Spec(array.shape))
        self.emit(Builtin.DEQUANTIZE, [self.constant(f"{name}/float16", half)], [tensor])
        return tensor

    def _as_output(self, value: Value, taken: set[TensorId]) -> Tensor:
        """Return the tensor of an output; runtimes want one that is computed and that no other output is."""
        tensor = self.read(value)
        computed = {t.id for t in self.tensors} - self._input_ids
        if tensor.id in computed and tensor.id not in taken:
            return tensor
        copy = self.temporary(f"{value}/output", replace(self.spec(value), quant=tensor.spec.quant))
        self.reshape(tensor, copy)
        return copy
