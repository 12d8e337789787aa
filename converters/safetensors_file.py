"""Reads safetensors files: 8 bytes of header length, a JSON header, the tensors (github.com/huggingface/safetensors).

The package itself checks the header: every tensor's place follows from its shape, none overlap and none is left out.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, TypeGuard

from edge_sdk.converters.tensor_file import ELEMENT_BYTES, Run, TensorFile, contiguous
from edge_sdk.errors import FormatError, UsageError

# The format allows 100 MB; a thousand tensors take a tenth of one.
MAX_HEADER_BYTES = 10_000_000
MAX_RANK = 32
METADATA = "__metadata__"
DTYPES = {
    "C64": "complex64", "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip


def is_safetensors(beginning: bytes) -> bool:
    """Whether a file that begins so (9 bytes of it) may be a safetensors file."""
    return len(beginning) >= 9 and beginning[8:9] == b"{"


def read_safetensors(path: Path | str) -> TensorFile:
    """Read the tensors of a safetensors file, in the order of their names.

    bfloat16 becomes float32; every other dtype stays. The arrays are read-only views of the file.

    Raises:
        FormatError: the file is truncated or corrupt, or has elements that NumPy lacks.
        UsageError: the file cannot be opened.
    """
    path = Path(path)
    try:
        header, start = _header(path)
        _check(path)
        windows = {name: contiguous(*_tensor(name, header[name], start)) for name in sorted(header) if name != METADATA}
        return TensorFile(path, windows)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, and where the tensors start."""
    with path.open("rb") as file:
        beginning = file.read(8)
        if len(beginning) < 8:
            raise FormatError("not a safetensors file: it has fewer than 8 bytes")
        (length,) = struct.unpack("<Q", beginning)
        if length > min(path.stat().st_size - 8, MAX_HEADER_BYTES):
            raise FormatError(f"not a safetensors file, or truncated: its header would have {length} bytes")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError("not a safetensors file: its header is not JSON") from error
    if not isinstance(header, dict):
        raise FormatError("not a safetensors file: its header is no object")
    return header, 8 + length


def _check(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"the safetensors header is corrupt: {str(error)[:200]}") from error


def _tensor(name: str, entry: Any, start: int) -> tuple[Run, tuple[int, ...]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise FormatError(f"tensor {name[:80]!r} has no dtype")
    shape, places = entry.get("shape"), entry.get("data_offsets")
    if not _counts(shape) or not _counts(places) or len(shape) > MAX_RANK or len(places) != 2:
        raise FormatError(f"tensor {name[:80]!r} has no shape and place")
    if entry["dtype"] not in DTYPES:
        raise FormatError(f"tensor {name[:80]!r} has elements of {entry['dtype'][:20]!r}; wanted {', '.join(DTYPES)}")
    dtype = DTYPES[entry["dtype"]]
    begin, end = places
    if end < begin or (end - begin) % ELEMENT_BYTES[dtype]:
        raise FormatError(f"tensor {name[:80]!r} lies from byte {begin} to {end}, which are no whole elements")
    return Run(start + begin, (end - begin) // ELEMENT_BYTES[dtype], dtype), tuple(shape)


def _counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
