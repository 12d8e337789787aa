"""The zip container of PyTorch 1.6 and later: a pickle, and an entry a storage, all stored as they are."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from edge_sdk.converters.tensor_file import ELEMENT_BYTES, ByteOrder, Run
from edge_sdk.converters.torch.symbols import Storage
from edge_sdk.converters.torch.unpickler import load_pickle, opcode_limit
from edge_sdk.errors import FormatError

LOCAL_HEADER = struct.Struct("<4s22xHH")
_ERRORS = (
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


def read_archive(file: BinaryIO, size: int) -> tuple[Any, Callable[[Storage], Run]]:
    """Return the pickled object of a file of `size` bytes, and the function that finds a storage in it.

    Raises:
        FormatError: the archive is truncated, corrupt, or no checkpoint of `torch.save`.
    """
    entries = _entries(file)
    prefix = _prefix(entries)
    pickled = io.BytesIO(_content(file, entries, f"{prefix}data.pkl", size))
    root = load_pickle(pickled, limit=opcode_limit(size))
    order = _byte_order(file, entries, f"{prefix}byteorder", size)

    def locate(storage: Storage) -> Run:
        name = f"{prefix}data/{storage.key}"
        start, length = _place(file, entries, name, size)
        wanted = storage.elements * ELEMENT_BYTES[storage.dtype]
        if length != wanted:
            raise FormatError(
                f"storage {storage.key[:40]!r} has {length} bytes; "
                f"{storage.elements} elements of {storage.dtype} need {wanted}"
            )
        # PyTorch can be told to compute no checksums, and leaves 0 in their place.
        return Run(start, storage.elements, storage.dtype, order, entries[name].CRC or None)

    return root, locate


def _entries(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            return {info.filename: info for info in archive.infolist()}
    except _ERRORS as error:
        raise FormatError(f"the zip archive is truncated or corrupt: {str(error)[:200]}") from error


def _prefix(entries: Mapping[str, zipfile.ZipInfo]) -> str:
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in entries):
        raise FormatError(
            "a TorchScript archive, which holds a program; refused. "
            "Save its weights: torch.save(torch.jit.load(path).state_dict(), 'weights.pth')"
        )
    if len(pickles) != 1:
        raise FormatError(f"the zip archive has {len(pickles)} entries */data.pkl; a checkpoint of torch.save has one")
    return pickles[0].removesuffix("data.pkl")


def _place(file: BinaryIO, entries: Mapping[str, zipfile.ZipInfo], name: str, size: int) -> tuple[int, int]:
    """Return where the bytes of an entry start, and how many they are."""
    info = entries.get(name)
    if info is None:
        raise FormatError(f"the zip archive has no entry {name[:80]!r}")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FormatError(f"entry {name[:80]!r} is compressed; PyTorch stores its entries as they are")
    if not 0 <= info.header_offset <= size - LOCAL_HEADER.size:
        raise FormatError(f"entry {name[:80]!r} starts outside the file")
    file.seek(info.header_offset)
    signature, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise FormatError(f"entry {name[:80]!r} has no header where the directory says")
    start = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if info.file_size > size - start:
        raise FormatError(f"entry {name[:80]!r} claims {info.file_size} bytes; the file has {size - start} left")
    return int(start), info.file_size


def _content(file: BinaryIO, entries: Mapping[str, zipfile.ZipInfo], name: str, size: int) -> bytes:
    start, length = _place(file, entries, name, size)
    file.seek(start)
    return file.read(length)


def _byte_order(file: BinaryIO, entries: Mapping[str, zipfile.ZipInfo], name: str, size: int) -> ByteOrder:
    if name not in entries:
        return "<"  # before version 2.1, which wrote little-endian files only
    order = _content(file, entries, name, size)
    if order not in {b"little", b"big"}:
        raise FormatError("the archive's byte order is neither little nor big")
    return "<" if order == b"little" else ">"
