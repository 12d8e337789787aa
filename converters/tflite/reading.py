"""From TFLite's operators to the SDK's: the registry of readers, and what they read from and build."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.file_graph import FileGraph, FileOperator, FileTensor
from edge_sdk.converters.tflite.node_checks import check_shape, has_stored_form
from edge_sdk.converters.tflite.read_names import choose_names, cleaned
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation
from edge_sdk.errors import EdgeError, FormatError
from edge_sdk.graph import Graph
from edge_sdk.op import Op
from edge_sdk.ops.activation import Relu, Relu6, Tanh
from edge_sdk.ops.elementwise import Clip
from edge_sdk.ops.shape import Reshape
from edge_sdk.spec import BATCH, Array, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

ReadFunction = Callable[["Reading", FileOperator], None]
FoldFunction = Callable[["Reading", FileOperator], "Sequence[Array] | None"]
F = TypeVar("F", bound=ReadFunction)
G = TypeVar("G", bound=FoldFunction)
READERS: dict[Builtin, ReadFunction] = {}
FOLDERS: dict[Builtin, FoldFunction] = {}

OMITTED = -1
MEMORY_FACTOR = 4
MEMORY_CONSTANT = 4 << 20
"""The numbers of a model take at most so many times the bytes of its file (int8 weights become float32), and these.

A file may name one constant many times, or ask for one to be repeated, until nothing is left.
"""

_FUSED = {FusedActivation.NONE: None, FusedActivation.RELU: "relu", FusedActivation.RELU6: "relu6"}
_SEPARATE: dict[FusedActivation, Op] = {
    FusedActivation.RELU: Relu(),
    FusedActivation.RELU6: Relu6(),
    FusedActivation.RELU_N1_TO_1: Clip(-1.0, 1.0),
    FusedActivation.TANH: Tanh(),
}


def reads(*codes: Builtin) -> Callable[[F], F]:
    """Register the function that turns these builtin operators into the SDK's."""

    def register(function: F) -> F:
        for code in codes:
            if code in READERS:
                raise TypeError(f"{code.name} is read twice")
            READERS[code] = function
        return function

    return register


def folds(*codes: Builtin) -> Callable[[G], G]:
    """Register the function that computes these operators at once when their inputs are known; None means it cannot."""

    def register(function: G) -> G:
        for code in codes:
            if code in FOLDERS:
                raise TypeError(f"{code.name} is folded twice")
            FOLDERS[code] = function
        return function

    return register


class Reading:
    """Builds a graph from the operators of a file.

    Attributes:
        file: What is read.
        quantized: Whether stored integers stay what they are; else everything is float32.
        image: Whether the file's only input is a batch of photos, however many it was written for.
        batch: The size of the open batch in the shapes that the file states, or None without one.
        workspace: The weights.
        shapes: Values by the number of the tensor that is their shape.
    """

    def __init__(self, file: FileGraph, file_bytes: int, name: str, *, quantized: bool, image: bool) -> None:
        self.file = file
        self.quantized = quantized
        self.image = image
        self.batch: int | None = None
        self.workspace = Workspace()
        self.builder = Builder(cleaned(name) or "tflite")
        self._values: dict[int, Value] = {}
        self._known: dict[int, Array] = {}
        self._names: dict[int, str] = {}
        self._budget = MEMORY_FACTOR * file_bytes + MEMORY_CONSTANT
        self._refused: list[str] = []
        self._of_batch: set[int] = set()
        self.shapes: dict[int, Value] = {}

    def run(self) -> tuple[Graph, Workspace]:
        """Return the graph and its weights.

        Raises:
            FormatError: operators or types that are not read, all of them named, or operators that contradict the file.
        """
        operators = self.file.needed()
        self._refuse_unknown(operators)
        self._names = choose_names(self.file)
        where = ""
        try:
            for index in self.file.inputs:
                self._values[index] = self.builder.input(self._names[index], self._input_spec(self.file.tensors[index]))
            for operator in operators:
                where = f"operator {operator.index} ({operator.name}): "
                self._read(operator)
            where = ""
            outputs = [self.value_of(index) for index in self.file.outputs]
            if self._refused:
                raise FormatError(f"no 8-bit form of {', '.join(self._refused)}; read it as a float Model")
            return self.builder.build(*outputs), self.workspace
        except EdgeError as error:
            raise FormatError(f"{self.file.file}: {where}{error}") from error

    def tensor(self, operator: FileOperator, position: int) -> FileTensor:
        """The file's tensor at a position among the inputs; raises FormatError when it is left out."""
        return self.file.tensors[self._index(operator, position)]

    def has(self, operator: FileOperator, position: int) -> bool:
        """Tell whether an optional input is given."""
        return position < len(operator.inputs) and operator.inputs[position] != OMITTED

    def value(self, operator: FileOperator, position: int) -> Value:
        """The value of an input; a constant becomes a parameter when it is first read."""
        return self.value_of(self._index(operator, position))

    def values(self, operator: FileOperator, wanted: int) -> list[Value]:
        """The values of the first inputs, of which there must be as many as wanted."""
        return [self.value(operator, position) for position in range(wanted)]

    def value_of(self, index: int) -> Value:
        """The value of a tensor of the file."""
        if index not in self._values:
            self._values[index] = self._parameter(index)
        return self._values[index]

    def spec(self, value: Value) -> Spec:
        """What is known about a value."""
        return self.builder.spec(value)

    def known(self, operator: FileOperator, position: int) -> Array | None:
        """The numbers of an input that does not depend on the file's inputs, else None.

        They are real numbers, except in a quantized reading, where stored integers are given as None. In shapes, the
        open batch is −1.
        """
        index = self._index(operator, position)
        if index not in self._known:
            tensor = self.file.tensors[index]
            if tensor.data is None or index in self.file.inputs or (self.quantized and tensor.quant is not None):
                return None
            self._known[index] = self._real(tensor)
        return self._known[index]

    def integers(self, operator: FileOperator, position: int) -> tuple[int, ...]:
        """Whole numbers that an operator needs now: axes, sizes, a shape. Raises FormatError when they are computed."""
        numbers = self.known(operator, position)
        name = self.tensor(operator, position).name
        if numbers is None or numbers.dtype.kind not in "iu" or numbers.size > 64:
            raise FormatError(f"its input {name!r} must be a few whole numbers that are known before it runs")
        return tuple(int(number) for number in numbers.reshape(-1))

    def emit(
        self,
        operator: FileOperator,
        op: Op,
        *inputs: Value,
        activation: FusedActivation = FusedActivation.NONE,
        reshaped: bool = False,
    ) -> None:
        """Add the node that makes the outputs of an operator of the file, and its fused activation.

        With `reshaped` the file may state another shape of as many elements for the only output, and gets it.
        """
        separate = None
        if activation in _FUSED and hasattr(op, "activation"):
            op = dataclasses.replace(op, activation=_FUSED[activation])  # type: ignore[call-arg]
        elif activation is not FusedActivation.NONE:
            if activation not in _SEPARATE:
                raise FormatError(f"its activation {activation.name} is not read")
            separate = _SEPARATE[activation]
        outputs = self._append(operator, op, inputs, checked=not reshaped)
        if separate is not None:
            outputs = self._append(operator, separate, outputs, checked=not reshaped)
        if reshaped and (wanted := self.stated_shape(operator, outputs[0])) != self.spec(outputs[0]).shape:
            outputs = self._append(operator, Reshape(wanted), outputs)
        for index, value in zip(operator.outputs, outputs, strict=True):
            self._values[index] = value

    def stated_shape(self, operator: FileOperator, like: Value) -> tuple[int, ...]:
        """The shape of an operator's first output as the file has it, with an open batch where `like` has one."""
        stated = self.file.tensors[operator.outputs[0]].shape
        return (BATCH, *stated[1:]) if self.spec(like).symbolic and stated else stated

    def step(self, operator: FileOperator, op: Op, *inputs: Value) -> Value:
        """Add a node before what `emit` adds; what it makes is quantized as its input is."""
        (value,) = self.steps(operator, op, *inputs)
        return value

    def steps(self, operator: FileOperator, op: Op, *inputs: Value) -> tuple[Value, ...]:
        """Add a node of several outputs before what `emit` adds."""
        specs = [self.spec(value) for value in inputs]
        made = [dataclasses.replace(spec, quant=specs[0].quant) for spec in op.infer_outputs(specs)]
        self._check_quantized(operator, op, specs, made)
        return self.builder.append(op, inputs, made, name=f"{self._names[operator.outputs[0]]}/{op.name}")

    def chain(self, operator: FileOperator, x: Value, ops: Sequence[tuple[Op, tuple[Value, ...]]]) -> None:
        """Let an operator's output be x after some operators, each with further inputs; none leaves x itself."""
        for op, others in ops[:-1]:
            x = self.step(operator, op, x, *others)
        if ops:
            self.emit(operator, ops[-1][0], x, *ops[-1][1])
        else:
            self.alias(operator, x)

    def alias(self, operator: FileOperator, *values: Value) -> None:
        """Let an operator's outputs be values that are there already."""
        for index, value in zip(operator.outputs, values, strict=True):
            check_shape(self.spec(value), self.file.tensors[index])
            self._values[index] = value

    def constant(self, operator: FileOperator, name: str, array: Array, quant: QuantParams | None = None) -> Value:
        """Add a parameter that the file does not have as such."""
        self.charge(array.nbytes)
        value = self.builder.param(self._free(f"{self._names[operator.outputs[0]]}/{name}"), _spec_of(array, quant))
        self.workspace[value] = np.array(array)
        return value

    def weight(self, operator: FileOperator, position: int, x: Value) -> Value:
        """A weight or bias that is used with x: where x is a float, stored integers become real numbers."""
        index = self._index(operator, position)
        tensor = self.file.tensors[index]
        if self.quantized and tensor.quant is not None and tensor.data is not None and self.spec(x).quant is None:
            return self.constant(operator, f"weight_{position}", self._real(tensor))
        return self.value_of(index)

    def all_known(self, operator: FileOperator) -> list[Array] | None:
        """The numbers of all inputs, or None when some are computed; those left out are not there."""
        found = [
            self.known(operator, position) for position in range(len(operator.inputs)) if self.has(operator, position)
        ]
        return [array for array in found if array is not None] if all(array is not None for array in found) else None

    def shape_source(self, operator: FileOperator, position: int) -> Value | None:
        """The value whose whole shape an input is, if it is one's."""
        return self.shapes.get(self._index(operator, position))

    def depends_on_batch(self, operator: FileOperator) -> bool:
        """Tell whether an operator reads the size of the open batch: −1, which nothing can be computed with."""
        if operator.code == Builtin.SHAPE:
            return self.spec(self.value(operator, 0)).symbolic
        return not self._of_batch.isdisjoint(operator.inputs)

    def charge(self, count: int) -> None:
        """Account for bytes about to be taken; raises FormatError before a small file takes much memory."""
        self._budget -= count
        if self._budget < 0:
            raise FormatError("its constants would take many times the memory that the file has bytes")

    def _read(self, operator: FileOperator) -> None:
        code = Builtin(operator.code)
        folder = FOLDERS.get(code)
        results = folder(self, operator) if folder is not None else None
        if results is not None:
            for index, array in zip(operator.outputs, results, strict=True):
                self._known[index] = array
                if self.depends_on_batch(operator):
                    self._of_batch.add(index)
        elif code in READERS:
            READERS[code](self, operator)
        else:
            raise FormatError("its inputs must be known before it runs")

    def _append(
        self, operator: FileOperator, op: Op, inputs: Sequence[Value], *, checked: bool = True
    ) -> tuple[Value, ...]:
        specs = [self.spec(value) for value in inputs]
        inferred = op.infer_outputs(specs)
        if len(inferred) != len(operator.outputs):
            raise FormatError(f"it has {len(operator.outputs)} outputs, wanted {len(inferred)}")
        tensors = [self.file.tensors[index] for index in operator.outputs]
        if checked:
            for spec, tensor in zip(inferred, tensors, strict=True):
                check_shape(spec, tensor)
        outputs = [self._output_spec(spec, tensor) for spec, tensor in zip(inferred, tensors, strict=True)]
        self._check_quantized(operator, op, specs, outputs)
        return self.builder.append(op, inputs, outputs, name=self._names[operator.outputs[0]])

    def _output_spec(self, inferred: Spec, tensor: FileTensor) -> Spec:
        """What a node makes: numbers quantized as the file says, or real ones."""
        if not self.quantized or tensor.quant is None or tensor.dtype is None:
            return inferred
        return Spec(inferred.shape, tensor.dtype, tensor.quant)

    def _check_quantized(self, operator: FileOperator, op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> None:
        if self.quantized and not has_stored_form(op, inputs, outputs):
            self._refused.append(f"{operator.index} {operator.name}")

    def _index(self, operator: FileOperator, position: int) -> int:
        if not self.has(operator, position):
            raise FormatError(f"its input {position} is missing")
        return operator.inputs[position]

    def _refuse_unknown(self, operators: Iterable[FileOperator]) -> None:
        """Name everything at once, so that nobody has to try again and again."""
        known = {*READERS, *FOLDERS}
        wrong: dict[str, list[str]] = {}
        for operator in operators:
            if operator.code not in known:
                wrong.setdefault(operator.name, []).append(str(operator.index))
        if wrong:
            found = ", ".join(f"{name} (operator {', '.join(places)})" for name, places in wrong.items())
            raise FormatError(f"{self.file.file}: operators that edge-sdk does not read: {found}")
        used = {index for operator in operators for index in (*operator.inputs, *operator.outputs)} - {OMITTED}
        used.update(self.file.inputs, self.file.outputs)
        types = [
            repr(self.file.tensors[i].name) for i in sorted(used) if self.file.tensors[i].dtype in (None, "float64")
        ]
        if types:
            raise FormatError(f"{self.file.file}: tensors of a type that edge-sdk does not read: {', '.join(types)}")

    def _input_spec(self, tensor: FileTensor) -> Spec:
        shape = tensor.shape
        if shape and (self.image or tensor.open_sizes[0]):
            if self.batch not in (None, shape[0]):
                raise FormatError(f"its inputs are batches of {self.batch} and of {shape[0]}")
            self.batch = shape[0]
            shape = (BATCH, *shape[1:])
        if self.quantized and tensor.quant is not None and tensor.dtype is not None:
            return Spec(shape, tensor.dtype, tensor.quant)
        as_real = tensor.quant is not None or tensor.dtype == "float16" or (self.image and tensor.dtype == "uint8")
        return Spec(shape, "float32" if as_real or tensor.dtype is None else tensor.dtype)

    def _parameter(self, index: int) -> Value:
        tensor = self.file.tensors[index]
        if index in self._of_batch:
            raise FormatError(f"it computes with the size of the batch ({tensor.name!r})")
        if index in self._known:
            array, quant = self._known[index], None
        elif tensor.data is None:
            raise FormatError(f"tensor {tensor.name!r} is read before anything writes it")
        elif self.quantized and tensor.quant is not None:
            self.charge(len(tensor.data))
            array, quant = tensor.stored, tensor.quant
        else:
            array, quant = self._real(tensor), None
        value = self.builder.param(self._free(self._names[index]), _spec_of(array, quant))
        native = array.dtype.newbyteorder("=")
        own = array.flags.owndata and array.flags.writeable and array.dtype == native
        self.workspace[value] = array if own else np.array(array, native)
        return value

    def _real(self, tensor: FileTensor) -> Array:
        """The real numbers of a constant, accounted for before they are made."""
        self.charge(math.prod(tensor.shape) * (4 if tensor.is_real else tensor.stored.itemsize))
        return tensor.real()

    def _free(self, name: str) -> str:
        number, free = 0, name
        while free in self.builder.specs:
            number += 1
            free = f"{name}.{number}"
        return free


def axes_of(numbers: Iterable[int], rank: int) -> tuple[int, ...]:
    """Return axes counted from 0, which files may count from the end; raises FormatError for ones that are missing."""
    axes = tuple(number + rank if number < 0 else number for number in numbers)
    if not all(0 <= axis < rank for axis in axes):
        raise FormatError(f"it names axes of {rank} that are not there: {axes}")
    return axes


def _spec_of(array: Array, quant: QuantParams | None = None) -> Spec:
    return Spec(array.shape, array.dtype.name, quant)
