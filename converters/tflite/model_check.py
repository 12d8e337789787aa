"""Is a .tflite file well formed? Asked before a runtime sees it: tflite-runtime 2.14 trusts every offset and index.

Slots: see flatfile, which writes the same tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.converters.tflite.options import (
    Conv2DOptions,
    DepthwiseConv2DOptions,
    Pool2DOptions,
    TransposeConvOptions,
)
from edge_sdk.converters.tflite.schema import FILE_IDENTIFIER, SCHEMA_VERSION
from edge_sdk.converters.tflite.table_reader import Table
from edge_sdk.errors import FormatError
from edge_sdk.spec import Array

MAX_TENSOR_ELEMENTS = 2**31 - 1
MAX_WINDOW = 2**16
_WINDOW_SLOTS = {
    Conv2DOptions.union_type: {1: 0, 2: 0, 4: 1, 5: 1},
    DepthwiseConv2DOptions.union_type: {1: 0, 2: 0, 5: 1, 6: 1},
    Pool2DOptions.union_type: {1: 0, 2: 0, 3: 0, 4: 0},
    TransposeConvOptions.union_type: {1: 0, 2: 0},
}
"""Slots of strides, dilations and window sizes in the options that have them, with the schema's defaults."""
_ELEMENT_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2}
"""Bytes of an element by the number of its type; types that are packed or have no fixed size are not here."""


@dataclass(frozen=True)
class CheckedModel:
    """What the SDK wants to know of a file besides running it."""

    description: str
    metadata: dict[str, bytes]


def check_model(data: bytes | memoryview, name: str) -> CheckedModel:
    """Check every offset, index and constant size of a file; raises FormatError, which calls the file `name`."""
    root = Table.root(data, FILE_IDENTIFIER, name)
    version = root.number(0, "uint32")
    if version != SCHEMA_VERSION:
        raise FormatError(f"{name}: schema version {version}, this edge-sdk reads version {SCHEMA_VERSION}")
    buffers = [buffer.bytes(0) for buffer in root.tables(4)]
    codes = root.tables(1)
    for code in codes:
        code.string(1)
    subgraphs = root.tables(2)
    if not subgraphs:
        raise FormatError(f"{name}: holds no subgraph, so there is nothing to run")
    tensor_counts = [_check_subgraph(subgraph, buffers, len(codes)) for subgraph in subgraphs]
    for signature in root.tables(7):
        _check_signature(signature, tensor_counts)
    return CheckedModel(root.string(3) or "", _metadata(root, buffers))


def _metadata(root: Table, buffers: Sequence[memoryview | None]) -> dict[str, bytes]:
    found = {}
    for entry in root.tables(6):
        index = entry.number(1, "uint32")
        if index >= len(buffers):
            raise root.source.error(f"a metadata entry names buffer {index} of {len(buffers)}")
        found[entry.string(0) or ""] = bytes(buffers[index] or b"")
    return found


def _check_subgraph(subgraph: Table, buffers: Sequence[memoryview | None], codes: int) -> int:
    tensors = subgraph.tables(0)
    for tensor in tensors:
        _check_tensor(tensor, buffers)
    for slot in (1, 2):
        _check_indices(subgraph, subgraph.numbers(slot, "int32"), len(tensors), lowest=0)
    for operator in subgraph.tables(3):
        _check_operator(operator, len(tensors), codes)
    subgraph.string(4)
    return len(tensors)


def _check_tensor(tensor: Table, buffers: Sequence[memoryview | None]) -> None:
    name = tensor.string(3) or ""
    shape = [int(size) for size in _or_empty(tensor.numbers(0, "int32"))]
    signature = tensor.numbers(7, "int32")
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_TENSOR_ELEMENTS:
        raise tensor.source.error(f"tensor {name!r} has shape {shape}")
    if signature is not None and len(signature) not in (0, len(shape)):
        raise tensor.source.error(f"tensor {name!r} has shape {shape} and a signature of {len(signature)} sizes")
    index = tensor.number(2, "uint32")
    if index >= max(1, len(buffers)):
        raise tensor.source.error(f"tensor {name!r} names buffer {index} of {len(buffers)}")
    if tensor.table(6) is not None:
        raise FormatError(
            f"{tensor.source.name}: tensor {name!r} is stored as a sparse one, which edge-sdk does not read"
        )
    data = buffers[index] if index < len(buffers) else None
    item = _ELEMENT_BYTES.get(tensor.number(1, "int8"))
    if data is not None and len(data) and item is not None and len(data) != item * math.prod(shape):
        raise tensor.source.error(f"tensor {name!r} of shape {shape} has {len(data):,} bytes of data")
    _check_quantization(tensor, name, shape)


def _check_quantization(tensor: Table, name: str, shape: list[int]) -> None:
    quantization = tensor.table(4)
    if quantization is None:
        return
    scale, zero_point = _or_empty(quantization.numbers(2, "float32")), _or_empty(quantization.numbers(3, "int64"))
    # Converters before 2020 gave a depthwise bias the axis of its weights; a list of numbers has only one.
    axis = quantization.number(6, "int32") if len(shape) != 1 else 0
    quantization.numbers(0, "float32")
    quantization.numbers(1, "float32")
    per_axis = len(scale) > 1
    fits = len(zero_point) in (0, 1, len(scale)) and (not per_axis or (0 <= axis < len(shape)))
    if not fits or (per_axis and len(scale) != shape[axis]):
        found = f"{len(scale)} scales and {len(zero_point)} zero points along axis {axis}"
        raise tensor.source.error(f"tensor {name!r} of shape {shape} is quantized by {found}")


def _check_operator(operator: Table, tensors: int, codes: int) -> None:
    if operator.number(0, "uint32") >= codes:
        raise operator.source.error(f"an operator is number {operator.number(0, 'uint32')} of {codes}")
    _check_indices(operator, operator.numbers(1, "int32"), tensors, lowest=-1)
    _check_indices(operator, operator.numbers(2, "int32"), tensors, lowest=0)
    _check_indices(operator, operator.numbers(8, "int32"), tensors, lowest=-1)
    _check_options(operator)
    operator.bytes(5)
    operator.bytes(7)


def _check_options(operator: Table) -> None:
    kind, options = operator.number(3, "uint8"), operator.table(4)
    if kind and options is None:
        raise operator.source.error("an operator's options are announced and missing")
    if options is None:
        return
    for slot, default in _WINDOW_SLOTS.get(kind, {}).items():
        size = options.number(slot, "int32", default)
        if not 1 <= size <= MAX_WINDOW:
            raise operator.source.error(f"a stride, dilation or window of {size} pixels")


def _check_signature(signature: Table, tensor_counts: Sequence[int]) -> None:
    signature.string(2)
    subgraph = signature.number(4, "uint32")
    if subgraph >= len(tensor_counts):
        raise signature.source.error(f"a signature names subgraph {subgraph} of {len(tensor_counts)}")
    for entry in (*signature.tables(0), *signature.tables(1)):
        entry.string(0)
        if entry.number(1, "uint32") >= tensor_counts[subgraph]:
            raise signature.source.error(f"a signature names tensor {entry.number(1, 'uint32')}")


def _check_indices(table: Table, indices: Array | None, count: int, *, lowest: int) -> None:
    if indices is not None and any(not lowest <= index < count for index in indices.tolist()):
        raise table.source.error(f"tensor numbers {indices.tolist()[:8]} of {count}")


def _or_empty(values: Array | None) -> Array:
    return np.empty(0, np.int32) if values is None else values
