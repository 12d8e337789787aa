"""Reads PyTorch checkpoints (.pth, .pt) without PyTorch: the zip container and the legacy stream before version 1.6.

Both are described by `torch/serialization.py`. A pickle names tensors as windows on storages; the storages' bytes are
entries of the zip archive, or follow the pickles of a legacy file.
"""

from __future__ import annotations

import errno
import io
import math
import os
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from edge_sdk.converters.torch.symbols import Storage, Tensor
from edge_sdk.converters.torch.unpickler import load_pickle
from edge_sdk.errors import FormatError, UsageError

ByteOrder = Literal["<", ">"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_LINE_BYTES = 1 << 20
# An empty tensor takes no memory, but NumPy refuses other dimensions whose product overflows.
MAX_EMPTY_EXTENT = 1 << 31
ELEMENT_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    AttributeError,
)


def read_state_dict(path: Path | str) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch checkpoint, in the file's order.

    A checkpoint {"state_dict": …} or {"model": …} is unwrapped. bfloat16 becomes float32; every other dtype stays.
    The arrays are read-only; tensors that share a storage in the file share memory here, and may be strided.

    Args:
        path: a .pth or .pt file, written by `torch.save` in either of its formats.

    Raises:
        FormatError: the file is truncated, corrupt, or names anything but tensors; nothing in it is ever run.
        UsageError: the file cannot be opened.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            signature = file.read(4)
            file.seek(0)
            read = _read_archive if signature.startswith(b"PK") else _read_legacy
            tensors, storages = read(file, size)
            return {name: _materialise(name, tensor, storages) for name, tensor in tensors.items()}
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a corrupt archive points before the file's start
            raise FormatError(f"{path}: an offset in the file lies outside the file") from error
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_archive(file: BinaryIO, size: int) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(file) as archive:
            pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise FormatError(f"the zip archive has {len(pickles)} entries */data.pkl; a checkpoint has one")
            prefix = pickles[0].removesuffix("data.pkl")
            tensors = _unwrap(load_pickle(io.BytesIO(_entry(archive, pickles[0], size))))
            order = _byte_order(archive, f"{prefix}byteorder", size)
            storages = {}
            left = size
            for storage in _distinct_storages(tensors).values():
                # Entries of a hostile archive may overlap: together, too, they hold no more than the file.
                data = _entry(archive, f"{prefix}data/{storage.key}", left)
                left -= len(data)
                storages[storage.key] = _decode(storage, data, order)
            return tensors, storages
    except _ZIP_ERRORS as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the zip archive is truncated or corrupt: {str(error)[:200]}") from error


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise FormatError(f"the zip archive has no entry {name[:80]!r}") from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FormatError(f"entry {name[:80]!r} is compressed; PyTorch stores its entries as they are")
    if info.file_size > limit:
        raise FormatError(f"entry {name[:80]!r} claims {info.file_size} bytes; the file can hold {limit} more")
    return archive.read(info)


def _byte_order(archive: zipfile.ZipFile, name: str, size: int) -> ByteOrder:
    if name not in archive.namelist():
        return "<"  # before version 2.1, which wrote little-endian files only
    order = _entry(archive, name, size)
    if order not in {b"little", b"big"}:
        raise FormatError("the archive's byte order is neither little nor big")
    return "<" if order == b"little" else ">"


class _BoundedReader:
    """A file whose `read(n)` takes memory for what the file holds, and not for the `n` that the file asks for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, count: int, /) -> bytes:
        return self._file.read(max(0, min(count, self._size - self.tell())))

    def readline(self) -> bytes:
        return self._file.readline(MAX_LINE_BYTES)

    def tell(self) -> int:
        return self._file.tell()


def _read_legacy(file: BinaryIO, size: int) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    reader = _BoundedReader(file, size)
    if file.read(1) != b"\x80":
        raise FormatError("neither a zip archive nor a pickle: not a checkpoint of torch.save")
    file.seek(0)
    magic = load_pickle(reader)
    if not isinstance(magic, int) or magic != LEGACY_MAGIC:
        raise FormatError("the magic number of a PyTorch checkpoint is missing")
    protocol = load_pickle(reader)
    if not isinstance(protocol, int) or protocol != LEGACY_PROTOCOL:
        raise FormatError(f"the legacy protocol version is not {LEGACY_PROTOCOL}")
    load_pickle(reader)  # the writer's system: storages are little-endian whatever it says
    root = load_pickle(reader)
    keys = load_pickle(reader)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FormatError("the list of storages is not a list of keys")
    declared = _declared_storages(root)
    arrays = {}
    for key in keys:
        if key not in declared or key in arrays:
            raise FormatError(f"storage {key[:40]!r} is listed but belongs to no tensor, or is listed twice")
        arrays[key] = _decode(declared[key], _read_storage(reader, size, declared[key]), "<")
    return _unwrap(root), arrays


def _read_storage(reader: _BoundedReader, size: int, storage: Storage) -> bytes:
    header = reader.read(8)
    if len(header) != 8:
        raise FormatError(f"the file ends before storage {storage.key[:40]!r}")
    elements = struct.unpack("<q", header)[0]
    if elements != storage.elements:
        raise FormatError(f"storage {storage.key[:40]!r} has {elements} elements; the pickle says {storage.elements}")
    wanted, left = elements * ELEMENT_BYTES[storage.dtype], size - reader.tell()
    if wanted > left:
        raise FormatError(f"storage {storage.key[:40]!r} needs {wanted} bytes; the file has {left} left")
    return reader.read(wanted)


def _declared_storages(root: Any) -> dict[str, Storage]:
    """Return every storage of the pickle: those of a checkpoint's optimizer, too, precede or follow the weights'."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    pending = [root]
    while pending:  # no recursion: a hostile pickle may nest deeper than the call stack
        value = pending.pop()
        if id(value) in seen:
            continue
        if isinstance(value, Tensor):
            tensors[str(len(tensors))] = value
        elif isinstance(value, (list, tuple, dict)):
            seen.add(id(value))
            pending.extend(value.values() if isinstance(value, dict) else value)
    return _distinct_storages(tensors)


def _distinct_storages(tensors: dict[str, Tensor]) -> dict[str, Storage]:
    distinct: dict[str, Storage] = {}
    for tensor in tensors.values():
        storage = tensor.view.root
        if distinct.setdefault(storage.key, storage) != storage:
            raise FormatError(f"storage {storage.key[:40]!r} is declared with two sizes or dtypes")
    return distinct


def _unwrap(root: Any) -> dict[str, Tensor]:
    for _ in range(4):  # a hostile dictionary may contain itself
        if not isinstance(root, dict):
            raise FormatError(f"the checkpoint holds a {type(root).__name__}; expected a dictionary of tensors")
        inner = next((root[key] for key in ("state_dict", "model") if isinstance(root.get(key), dict)), None)
        if inner is None:
            break
        root = inner
    tensors: dict[str, Tensor] = {}
    for name, value in root.items():
        if not isinstance(name, str):
            raise FormatError(f"a tensor's name is a {type(name).__name__}; expected text")
        if not isinstance(value, Tensor):
            raise FormatError(f"entry {name[:80]!r} is a {type(value).__name__}; expected a tensor")
        tensors[name] = value
    return tensors


def _decode(storage: Storage, data: bytes, order: ByteOrder) -> np.ndarray:
    wanted = storage.elements * ELEMENT_BYTES[storage.dtype]
    if len(data) != wanted:
        raise FormatError(
            f"storage {storage.key[:40]!r} has {len(data)} bytes; "
            f"{storage.elements} elements of {storage.dtype} need {wanted}"
        )
    if storage.dtype == "bfloat16":
        # The upper half of a float32.
        high = np.frombuffer(data, np.dtype("uint16").newbyteorder(order)).astype(np.uint32)
        array = (high << np.uint32(16)).view(np.float32)
    elif storage.dtype == "bool":
        array = np.frombuffer(data, np.uint8) != 0
    else:
        stored = np.dtype(storage.dtype).newbyteorder(order)
        array = np.frombuffer(data, stored).astype(storage.dtype, copy=False)
    array.flags.writeable = False
    return array


def _materialise(name: str, tensor: Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    storage = tensor.view.root
    if storage.key not in storages:
        raise FormatError(f"the file lacks storage {storage.key[:40]!r} of tensor {name[:80]!r}")
    array = storages[storage.key][tensor.view.offset : tensor.view.offset + tensor.view.elements]
    if 0 in tensor.shape:
        if math.prod(dimension for dimension in tensor.shape if dimension) > MAX_EMPTY_EXTENT:
            raise FormatError(f"tensor {name[:80]!r} is empty, with other dimensions beyond any use: {tensor.shape}")
        return np.empty(tensor.shape, array.dtype)
    if math.prod(tensor.shape) > array.size:
        raise FormatError(
            f"tensor {name[:80]!r} of shape {tensor.shape} has more elements than its storage, {array.size}; "
            "if it was expanded, save it after .contiguous()"
        )
    steps = zip(tensor.shape, tensor.strides, strict=True)
    end = tensor.offset + sum((dimension - 1) * stride for dimension, stride in steps) + 1
    if end > array.size:
        raise FormatError(f"tensor {name[:80]!r} ends at element {end} of a storage of {array.size}")
    # A dimension of one may carry any stride, even one that does not fit in 64 bits once counted in bytes.
    strides = [
        stride * array.itemsize if dimension > 1 else array.itemsize
        for dimension, stride in zip(tensor.shape, tensor.strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(array[tensor.offset :], tensor.shape, strides, writeable=False)
