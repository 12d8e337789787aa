"""A .tflite file in the making: subgraphs of tensors and operators, written as a flatbuffer.

Equal calls give equal bytes. Equal constants are stored once. Neither runtime is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, cast

import numpy as np

from edge_sdk.converters.tflite.schema import (
    FILE_IDENTIFIER,
    SCHEMA_VERSION,
    Builtin,
    Options,
    TensorType,
)
from edge_sdk.converters.tflite.table_writer import Offset, TableWriter
from edge_sdk.errors import ExportError
from edge_sdk.spec import BATCH, HALF_A_BYTE, Array, QuantParams

TensorId = NewType("TensorId", int)
"""Position of a tensor in its subgraph."""

OMITTED = TensorId(-1)
"""Stands for an optional input that is left out."""

BUFFER_ALIGNMENT = 16
_LARGEST_DEPRECATED_CODE = 127


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    type: TensorType
    buffer: int
    quant: QuantParams | None


@dataclass(frozen=True)
class _Operator:
    code: int
    inputs: tuple[TensorId, ...]
    outputs: tuple[TensorId, ...]
    options: Options | None


@dataclass
class Subgraph:
    """Tensors, and the operators that compute them in order. Made by `FlatModel.subgraph`."""

    name: str
    _model: FlatModel
    inputs: tuple[TensorId, ...] = ()
    outputs: tuple[TensorId, ...] = ()
    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str, data: Array | None = None, quant: QuantParams | None = None
    ) -> TensorId:
        """Add a tensor; with `data` it is a constant.

        A first size of -1 is the open batch: it is stored as 1 with the signature -1, which runtimes may resize. In a
        file of fixed batch it is 1.

        Raises:
            ExportError: the format has no such dtype, or `data` is of another shape or dtype.
        """
        if dtype not in TensorType.__members__ or dtype == "int4":
            raise ExportError(f"tensor {name!r}: .tflite files hold no {dtype}")
        if data is not None and (data.shape != tuple(shape) or data.dtype.name != dtype):
            raise ExportError(f"tensor {name!r} is {dtype}{list(shape)}, its data {data.dtype}{list(data.shape)}")
        if data is not None and quant is not None and quant.bits == HALF_A_BYTE:
            dtype, data = "int4", packed(data)
        buffer = 0 if data is None else self._model.add_buffer(data)
        sizes = [int(size) for size in shape]
        if self._model.fixed_batch and sizes[:1] == [BATCH]:
            sizes[0] = 1
        self.tensors.append(_Tensor(name, tuple(sizes), TensorType[dtype], buffer, quant))
        return TensorId(len(self.tensors) - 1)

    def constant(self, name: str, data: Array, quant: QuantParams | None = None) -> TensorId:
        """Add a constant tensor with the shape and dtype of its data."""
        return self.tensor(name, data.shape, data.dtype.name, data, quant)

    def operator(
        self,
        code: Builtin,
        inputs: Sequence[TensorId],
        outputs: Sequence[TensorId],
        options: Options | None = None,
        version: int = 1,
    ) -> None:
        """Append one use of a builtin operator."""
        known = range(len(self.tensors))
        if any(tensor not in known and tensor != OMITTED for tensor in (*inputs, *outputs)):
            raise ExportError(
                f"{code.name}: inputs {list(inputs)} or outputs {list(outputs)} are no tensors of {self.name!r}"
            )
        index = self._model.operator_code(code, version)
        self.operators.append(_Operator(index, tuple(inputs), tuple(outputs), options))


@dataclass(frozen=True)
class _Signature:
    key: str
    subgraph: int
    inputs: tuple[tuple[str, TensorId], ...]
    outputs: tuple[tuple[str, TensorId], ...]


class FlatModel:
    """What one file holds. `to_bytes` may be called once everything is added."""

    def __init__(self, description: str = "", *, fixed_batch: bool = False) -> None:
        self.description = description
        self.fixed_batch = fixed_batch
        self._subgraphs: list[Subgraph] = []
        self._codes: dict[tuple[Builtin, int], int] = {}
        self._buffers: list[memoryview] = [memoryview(b"")]  # buffer 0 means "no data" and stays empty
        self._buffer_of_hash: dict[bytes, int] = {}
        self._metadata: dict[str, int] = {}
        self._signatures: list[_Signature] = []

    def subgraph(self, name: str) -> Subgraph:
        """Add a subgraph; the first one is what an interpreter runs."""
        self._subgraphs.append(Subgraph(name, self))
        return self._subgraphs[-1]

    def signature(
        self, key: str, subgraph: Subgraph, inputs: Mapping[str, TensorId], outputs: Mapping[str, TensorId]
    ) -> None:
        """Give a subgraph's inputs and outputs names that callers use, under the key of a function."""
        index = next(i for i, known in enumerate(self._subgraphs) if known is subgraph)
        self._signatures.append(_Signature(key, index, tuple(inputs.items()), tuple(outputs.items())))

    def metadata(self, name: str, data: bytes) -> None:
        """Store bytes under a name that runtimes ignore."""
        self._metadata[name] = self._append_buffer(memoryview(data))

    def add_buffer(self, data: Array) -> int:
        """Store an array, little-endian and in C order; equal bytes share one buffer. Returns its index."""
        stored = np.ascontiguousarray(data.astype(data.dtype.newbyteorder("<"), copy=False))
        view = memoryview(cast(Any, stored.reshape(-1).view(np.uint8)))
        if not view:
            return self._append_buffer(view)
        digest = hashlib.sha256(view).digest()
        if digest not in self._buffer_of_hash:
            self._buffer_of_hash[digest] = self._append_buffer(view)
        return self._buffer_of_hash[digest]

    def operator_code(self, code: Builtin, version: int) -> int:
        """Return the index of an operator in the file's list of operators used."""
        return self._codes.setdefault((code, version), len(self._codes))

    def to_bytes(self) -> bytes:
        """Return the file; raises ExportError when it would pass the format's 2 GiB."""
        payload = sum(len(buffer) + 2 * BUFFER_ALIGNMENT for buffer in self._buffers)
        structure = sum(256 * (len(s.tensors) + len(s.operators)) for s in self._subgraphs)
        writer = TableWriter(payload + structure + 4096)
        buffers = writer.offsets([_write_buffer(writer, buffer) for buffer in self._buffers])
        subgraphs = writer.offsets([_write_subgraph(writer, subgraph) for subgraph in self._subgraphs])
        codes = writer.offsets([_write_code(writer, code, version) for code, version in self._codes])
        metadata = [
            writer.table((0, "offset", writer.string(name)), (1, "uint32", buffer))
            for name, buffer in self._metadata.items()
        ]
        signatures = [_write_signature(writer, signature) for signature in self._signatures]
        root = writer.table(
            (0, "uint32", SCHEMA_VERSION),
            (1, "offset", codes),
            (2, "offset", subgraphs),
            (3, "offset", writer.string(self.description)),
            (4, "offset", buffers),
            (6, "offset", writer.offsets(metadata) if metadata else None),
            (7, "offset", writer.offsets(signatures) if signatures else None),
        )
        return writer.finish(root, FILE_IDENTIFIER)

    def _append_buffer(self, data: memoryview) -> int:
        self._buffers.append(data)
        return len(self._buffers) - 1


def _write_buffer(writer: TableWriter, data: memoryview) -> Offset:
    return writer.table((0, "offset", writer.aligned_bytes(data, BUFFER_ALIGNMENT) if len(data) else None))


def _write_code(writer: TableWriter, code: Builtin, version: int) -> Offset:
    # Readers from before 2021 know only the 8-bit field.
    deprecated = min(code, _LARGEST_DEPRECATED_CODE)
    return writer.table((0, "int8", deprecated), (2, "int32", version, 1), (3, "int32", code))


def _write_subgraph(writer: TableWriter, subgraph: Subgraph) -> Offset:
    tensors = writer.offsets([_write_tensor(writer, tensor) for tensor in subgraph.tensors])
    operators = writer.offsets([_write_operator(writer, operator) for operator in subgraph.operators])
    return writer.table(
        (0, "offset", tensors),
        (1, "offset", writer.numbers(subgraph.inputs, "int32")),
        (2, "offset", writer.numbers(subgraph.outputs, "int32")),
        (3, "offset", operators),
        (4, "offset", writer.string(subgraph.name)),
    )


def _write_tensor(writer: TableWriter, tensor: _Tensor) -> Offset:
    open_batch = tensor.shape[:1] == (BATCH,)
    shape = (1, *tensor.shape[1:]) if open_batch else tensor.shape
    return writer.table(
        (0, "offset", writer.numbers(shape, "int32")),
        (1, "int8", tensor.type),
        (2, "uint32", tensor.buffer),
        (3, "offset", writer.string(tensor.name)),
        (4, "offset", _write_quantization(writer, tensor.quant) if tensor.quant is not None else None),
        (7, "offset", writer.numbers(tensor.shape, "int32") if open_batch else None),
        (8, "bool", True),  # a scalar's shape is empty too; this says that it is one
    )


def _write_quantization(writer: TableWriter, quant: QuantParams) -> Offset:
    return writer.table(
        (2, "offset", writer.numbers(quant.scale, "float32")),
        (3, "offset", writer.numbers(quant.zero_point, "int64")),
        (6, "int32", quant.axis or 0),
    )


def _write_operator(writer: TableWriter, operator: _Operator) -> Offset:
    options = operator.options
    return writer.table(
        (0, "uint32", operator.code),
        (1, "offset", writer.numbers(operator.inputs, "int32")),
        (2, "offset", writer.numbers(operator.outputs, "int32")),
        (3, "uint8", 0 if options is None else options.union_type),
        (4, "offset", None if options is None else writer.table(*_option_fields(writer, options))),
    )


def _option_fields(writer: TableWriter, options: Options) -> list[tuple[int, str, object, object]]:
    fields: list[tuple[int, str, object, object]] = []
    for slot, value in options.slots():
        if slot.kind == "int32 vector":
            fields.append((slot.index, "offset", writer.numbers(value, "int32"), None))
        else:
            fields.append((slot.index, slot.kind, value, slot.default))
    return fields


def _write_signature(writer: TableWriter, signature: _Signature) -> Offset:
    def names(tensors: tuple[tuple[str, TensorId], ...]) -> Offset:
        maps = [writer.table((0, "offset", writer.string(name)), (1, "uint32", tensor)) for name, tensor in tensors]
        return writer.offsets(maps)

    return writer.table(
        (0, "offset", names(signature.inputs)),
        (1, "offset", names(signature.outputs)),
        (2, "offset", writer.string(signature.key)),
        (4, "uint32", signature.subgraph),
    )


def packed(numbers: Array) -> Array:
    """Return whole numbers in [-8, 7] two to a byte, the first in the lower half, in the order of their tensor."""
    halves = numbers.reshape(-1).astype(np.int8).view(np.uint8) & 0xF
    if len(halves) % 2:
        halves = np.append(halves, np.uint8(0))
    return np.asarray(halves[::2] | (halves[1::2] << 4), np.uint8)


def unpacked(stored: Array, count: int) -> Array:
    """Return the first `count` numbers of bytes that `packed` made, as int8."""
    halves = np.stack([stored << 4, stored & 0xF0], axis=1).reshape(-1).view(np.int8)[:count]
    return np.asarray(halves >> 4, np.int8)
