"""The program in a .tflite file, as tensors and operators: what readers work from. Nothing is computed or copied.

Slots: see flatfile, which writes the same tables.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar, cast, get_type_hints

import numpy as np

from edge_sdk.converters.tflite.flatfile import unpacked
from edge_sdk.converters.tflite.model_check import check_model
from edge_sdk.converters.tflite.operator_names import operator_name
from edge_sdk.converters.tflite.schema import FILE_IDENTIFIER, Options, TensorType
from edge_sdk.converters.tflite.table_reader import Table
from edge_sdk.errors import FormatError, ShapeError
from edge_sdk.spec import BYTE, FLOATS, HALF_A_BYTE, Array, QuantParams

_INTEGERS = frozenset(
    {TensorType.int4, TensorType.int8, TensorType.uint8, TensorType.int16, TensorType.int32, TensorType.int64}
)
Kind = TypeVar("Kind", bound=Options)


@dataclass(frozen=True)
class FileTensor:
    """A tensor of the file.

    Attributes:
        name: As the file has it.
        shape: With the batch that the file was written for.
        open_sizes: Which sizes the file leaves open.
        dtype: Name of the element type, or None for one that edge-sdk does not have.
        quant: How its stored integers are read, if they stand for real numbers.
        data: The bytes of a constant.
    """

    name: str
    shape: tuple[int, ...]
    open_sizes: tuple[bool, ...]
    dtype: str | None
    quant: QuantParams | None
    data: memoryview | None

    @property
    def is_narrow(self) -> bool:
        """Whether its numbers have 4 bits in the file."""
        return self.quant is not None and self.quant.bits == HALF_A_BYTE

    @property
    def stored(self) -> Array:
        """The numbers of a constant, a view of the file; its dtype is known."""
        kind = np.dtype(self.dtype).newbyteorder("<")
        return np.frombuffer(cast(memoryview, self.data), kind, math.prod(self.shape)).reshape(self.shape)

    @property
    def is_real(self) -> bool:
        """Whether it holds real numbers, as floats or as integers with a scale."""
        return self.quant is not None or self.dtype in FLOATS

    def real(self) -> Array:
        """The real numbers of a constant, float32: scale · (stored − zero point); whole ones as they are."""
        if not self.is_real:
            return np.array(self.stored, self.dtype)
        array = np.array(self.stored, np.float32)
        if self.quant is not None:
            along = [1] * len(self.shape)
            if self.quant.axis is not None:
                along[self.quant.axis] = len(self.quant.scale)
            array -= np.array(self.quant.zero_point, np.float32).reshape(along)
            array *= np.array(self.quant.scale, np.float32).reshape(along)
        return array


@dataclass(frozen=True)
class FileOperator:
    """One use of an operator: inputs (−1 for one left out) and outputs are positions in the list of tensors."""

    index: int
    code: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    _kind: int
    _table: Table | None

    @property
    def options_kind(self) -> int:
        """Which options it has: their number in the schema's union, 0 for none."""
        return 0 if self._table is None else self._kind

    def options(self, kind: type[Kind]) -> Kind:
        """Return its options, defaults where it has none; raises FormatError for another operator's or wrong ones."""
        if self._table is None:
            return kind()
        if self._kind != kind.union_type:
            raise FormatError(f"its options are of kind {self._kind}, wanted {kind.union_type}")
        types = get_type_hints(kind)
        values: dict[str, Any] = {}
        for field in dataclasses.fields(kind):
            slot = field.metadata["slot"]
            if slot.kind == "int32 vector":
                numbers = self._table.numbers(slot.index, "int32")
                values[field.name] = () if numbers is None else tuple(numbers.tolist())
            else:
                found = self._table.number(slot.index, slot.kind, slot.default)
                values[field.name] = _checked(field.name, found, types[field.name])
        return kind(**values)


@dataclass(frozen=True)
class FileGraph:
    """The main subgraph of a file.

    Attributes:
        file: What messages call the file.
        names: Names of inputs and outputs in its signature, where it has one.
        metadata: The entries that runtimes ignore.
    """

    file: str
    description: str
    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    names: Mapping[int, str]
    metadata: Mapping[str, bytes]

    def needed(self) -> list[FileOperator]:
        """The operators that the outputs depend on."""
        wanted = set(self.outputs)
        needed: list[FileOperator] = []
        for operator in reversed(self.operators):
            if wanted.intersection(operator.outputs):
                needed.append(operator)
                wanted.update(operator.inputs)
        return needed[::-1]


def read_file_graph(data: bytes | memoryview, name: str) -> FileGraph:
    """Return the main subgraph of a file, everything checked; raises FormatError, which calls the file `name`."""
    checked = check_model(data, name)
    root = Table.root(data, FILE_IDENTIFIER, name)
    buffers = [_buffer(buffer) for buffer in root.tables(4)]
    codes = [_code(code) for code in root.tables(1)]
    subgraph = root.tables(2)[0]
    tensors = tuple(_tensor(tensor, buffers) for tensor in subgraph.tables(0))
    operators = tuple(_operator(operator, index, codes) for index, operator in enumerate(subgraph.tables(3)))
    inputs, outputs = (_indices(subgraph, slot) for slot in (1, 2))
    return FileGraph(
        name, checked.description, tensors, operators, inputs, outputs, _signature_names(root), checked.metadata
    )


def _checked(name: str, found: Any, declared: Any) -> Any:
    """An option as its declared type, which may be an enumeration."""
    if isinstance(declared, type) and issubclass(declared, IntEnum):
        try:
            return declared(found)
        except ValueError:
            raise FormatError(f"its {name} is number {found}, which edge-sdk does not know") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise FormatError(f"its {name} is {found}")
    return found


def _buffer(buffer: Table) -> memoryview | None:
    if buffer.number(1, "uint64") > 1:
        raise FormatError(f"{buffer.source.name}: weights lie behind the flatbuffer, where edge-sdk does not read them")
    return buffer.bytes(0)


def _code(code: Table) -> tuple[int, str, int]:
    # Files from before 2021 have only the 8-bit field.
    number = max(code.number(0, "int8"), code.number(3, "int32"))
    return number, operator_name(number, code.string(1)), code.number(2, "int32", 1)


def _tensor(tensor: Table, buffers: list[memoryview | None]) -> FileTensor:
    name = tensor.string(3) or ""
    shape = _indices(tensor, 0)
    signature = _indices(tensor, 7)
    open_sizes = tuple(size < 0 for size in signature) if signature else (False,) * len(shape)
    number = tensor.number(1, "int8")
    dtype = TensorType(number).name if number in TensorType.__members__.values() else None
    narrow = dtype == TensorType.int4.name
    index = tensor.number(2, "uint32")
    data = buffers[index] if index < len(buffers) else None
    if data is None and index > 0 and 0 in shape:
        data = memoryview(b"")  # a constant without elements
    if data is not None and not data and 0 not in shape:
        data = None
    quant = _quantization(tensor, name, number, len(shape))
    if narrow:
        dtype, data = "int8", _widened(data, shape)
    return FileTensor(name, shape, open_sizes, dtype, quant, data)


def _widened(data: memoryview | None, shape: tuple[int, ...]) -> memoryview | None:
    """4-bit numbers as bytes: as many as the shape says, or, where there are fewer, as many as there are."""
    if data is None:
        return None
    stored = np.frombuffer(data, np.uint8)
    count = min(math.prod(shape), 2 * len(stored))
    return memoryview(unpacked(stored, count).tobytes()) if count else memoryview(b"")


def _quantization(tensor: Table, name: str, number: int, rank: int) -> QuantParams | None:
    table = tensor.table(4)
    if table is None or number not in _INTEGERS:
        return None
    if table.number(4, "uint8"):
        raise FormatError(f"{tensor.source.name}: tensor {name!r} is quantized in a way that edge-sdk does not read")
    scale, zero_point = table.numbers(2, "float32"), table.numbers(3, "int64")
    if scale is None or not len(scale):
        return None
    zeros = zero_point.tolist() if zero_point is not None and len(zero_point) else [0]
    if len(zeros) == 1:
        zeros *= len(scale)
    if any(abs(zero) > 2**31 for zero in zeros):
        raise tensor.source.error(f"tensor {name!r} has the zero point {max(zeros, key=abs)}")
    axis = None if len(scale) == 1 else table.number(6, "int32") if rank != 1 else 0
    try:
        bits = HALF_A_BYTE if number == TensorType.int4 else BYTE
        return QuantParams(tuple(scale.tolist()), tuple(zeros), axis, bits)
    except ShapeError as error:
        raise tensor.source.error(f"tensor {name!r}: {error}") from error


def _operator(operator: Table, index: int, codes: list[tuple[int, str, int]]) -> FileOperator:
    code, name, version = codes[operator.number(0, "uint32")]
    inputs, outputs = _indices(operator, 1), _indices(operator, 2)
    return FileOperator(index, code, name, version, inputs, outputs, operator.number(3, "uint8"), operator.table(4))


def _indices(table: Table, slot: int) -> tuple[int, ...]:
    numbers = table.numbers(slot, "int32")
    return () if numbers is None else tuple(numbers.tolist())


def _signature_names(root: Table) -> dict[int, str]:
    for signature in root.tables(7):
        if signature.number(4, "uint32") == 0:
            entries = (*signature.tables(0), *signature.tables(1))
            return {entry.number(1, "uint32"): entry.string(0) or "" for entry in entries}
    return {}
