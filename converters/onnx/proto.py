"""ONNX files and tensors as arrays: every size that a file claims is checked against what the file holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.errors import FormatError, MissingExtraError, UsageError
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGEST_FILE = 1 << 31
"""What a protobuf message can hold."""
MOST_AXES = 16

# TensorProto.DataType: the engine's name, the bytes of an element, and the field that holds small tensors.
_TYPES = {
    1: ("float32", 4, "float_data"),
    2: ("uint8", 1, "int32_data"),
    3: ("int8", 1, "int32_data"),
    5: ("int16", 2, "int32_data"),
    6: ("int32", 4, "int32_data"),
    7: ("int64", 8, "int64_data"),
    9: ("bool", 1, "int32_data"),
    10: ("float16", 2, "int32_data"),
    11: ("double", 8, "double_data"),
}
_OTHER_TYPES = {
    4: "uint16", 8: "string", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}  # fmt: skip


def onnx_package() -> Any:
    """The package `onnx`; raises MissingExtraError where it is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("ONNX files need the package onnx: pip install 'edge-sdk[onnx]'") from error
    return onnx


def parse_model(path: Path) -> ModelProto:
    """Parse a file; raises FormatError when it is no ONNX model, UsageError when it cannot be opened."""
    onnx = onnx_package()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        if path.stat().st_size >= LARGEST_FILE:
            raise FormatError(f"{path}: larger than 2 GiB, which no protobuf message is; store the weights beside it")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RecursionError) as error:
        raise FormatError(f"{path}: not an ONNX file, or a damaged one: {str(error)[:200]}") from error
    if not model.HasField("graph") or not model.graph.node:
        raise FormatError(f"{path}: not an ONNX file: it has no graph")
    if not _is_text(model):
        raise FormatError(f"{path}: a damaged ONNX file: a name in it is no text")
    result: ModelProto = model
    return result


def _is_text(message: Any) -> bool:
    """Whether every string of a message is UTF-8; protobuf hands out bytes for one that is not."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            if any(isinstance(each, bytes) for each in ([value] if isinstance(value, str | bytes) else value)):
                return False
        elif field.type == field.TYPE_MESSAGE and not all(
            map(_is_text, [value] if hasattr(value, "ListFields") else value)
        ):
            return False
    return True


def dtype_name(code: int, what: str) -> str:
    """The engine's name of an ONNX element type; raises FormatError for one that the engine does not have."""
    if code in _TYPES:
        return "float64" if code == 11 else _TYPES[code][0]
    raise FormatError(f"{what} is of element type {_OTHER_TYPES.get(code, code)}, which this engine does not have")


def tensor_array(tensor: TensorProto, folder: Path | None) -> Array:
    """The array of a stored tensor; `folder` is where data beside the file may lie.

    Raises:
        FormatError: its type is not the engine's, or its shape is not that of its data.
    """
    what = f"tensor {tensor.name[:80]!r}"
    dtype = np.dtype(dtype_name(tensor.data_type, what))
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or any(size < 0 or size >= 1 << 40 for size in shape):
        raise FormatError(f"{what}: shape {list(shape)[:MOST_AXES]} is none")
    count = math.prod(shape)
    if tensor.data_location == tensor.EXTERNAL:
        return _external(tensor, folder, dtype, what).reshape(shape)
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise FormatError(f"{what}: {len(tensor.raw_data)} bytes for {dtype.name}{list(shape)}")
        stored = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"))
        return stored.astype(dtype, copy=False).reshape(shape)
    numbers = getattr(tensor, _TYPES[tensor.data_type][2])
    if len(numbers) != count:
        raise FormatError(f"{what}: {len(numbers)} numbers for {dtype.name}{list(shape)}")
    if dtype == np.float16:
        return np.array(numbers, np.int32).astype(np.uint16).view(np.float16).reshape(shape)
    return np.array(numbers).astype(dtype).reshape(shape)


def _external(tensor: TensorProto, folder: Path | None, dtype: np.dtype[Any], what: str) -> Array:
    """Data in a file beside the model's: mapped, not read, from inside the model's folder only."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if folder is None or not entries.get("location"):
        raise FormatError(f"{what}: its data lie in another file, and there is no folder to look in")
    count = math.prod(tensor.dims)
    try:
        home = folder.resolve()
        path = (home / entries["location"]).resolve()
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(count * dtype.itemsize)))
        is_inside = path.is_relative_to(home)
        size = path.stat().st_size if is_inside and path.is_file() else 0
    except (ValueError, OSError) as error:
        raise FormatError(
            f"{what}: its data in {entries['location'][:80]!r} cannot be read: {str(error)[:200]}"
        ) from error
    if not is_inside:
        raise FormatError(f"{what}: its data lie outside of the model's folder: {entries['location'][:80]!r}")
    if not path.is_file():
        raise FormatError(f"{what}: its data cannot be read, {entries['location'][:80]!r} is no file")
    if length != count * dtype.itemsize or offset < 0 or offset + length > size:
        raise FormatError(
            f"{what}: {length} bytes at {offset} of {entries['location'][:80]!r}, which has {size}, for "
            f"{count} of {dtype.name}"
        )
    if not count:
        return np.zeros(0, dtype)
    mapped = np.memmap(path, dtype.newbyteorder("<"), "r", offset, (count,))
    return np.asarray(mapped).astype(dtype, copy=False)
