"""The container of PyTorch 0.1: a tar archive of four members, read as `legacy_load` of `torch/serialization.py` does.

`storages` are pickles (key, location, class), each before its elements; `tensors` are pickles (key, storage, class),
each before its geometry; `pickle` is the saved object, which refers to tensors by their keys; `sys_info` is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from edge_sdk.converters.tensor_file import Run
from edge_sdk.converters.torch.stream import BoundedReader
from edge_sdk.converters.torch.symbols import MAX_RANK, Storage, StorageClass, StorageView, Tensor, storage_view
from edge_sdk.converters.torch.unpickler import load_pickle, opcode_limit
from edge_sdk.errors import FormatError

BLOCK = 512
SIGNATURE = slice(257, 262)
NAME, SIZE = slice(0, 100), slice(124, 136)
WANTED = ("storages", "tensors", "pickle")


def is_tar(beginning: bytes) -> bool:
    """Whether a file that begins so (a block of it) is a tar archive."""
    return beginning[SIGNATURE] == b"ustar"


def read_tar(file: BinaryIO, size: int) -> tuple[Any, Callable[[Storage], Run]]:
    """Return the pickled object of a file of `size` bytes, and the function that finds a storage in it.

    Raises:
        FormatError: the archive is truncated, corrupt, or no checkpoint of `torch.save`.
    """
    members = _members(file, size)
    missing = [name for name in WANTED if name not in members]
    if missing:
        raise FormatError(f"the tar archive has no member {missing[0]!r}: not a checkpoint of torch.save")
    views, runs = _storages(BoundedReader(file, *members["storages"]))
    tensors = _tensors(BoundedReader(file, *members["tensors"]), views)

    def by_key(persistent_id: object) -> Tensor | StorageView:
        if not isinstance(persistent_id, (str, int)):
            return storage_view(persistent_id)  # which says what is wrong with it
        key = str(persistent_id)
        if key in tensors:
            return tensors[key]
        if key not in views:
            raise FormatError(f"the pickle refers to {key[:40]!r}, which is no tensor of the file")
        return views[key]

    root = load_pickle(BoundedReader(file, *members["pickle"]), by_key, opcode_limit(size))
    return root, lambda storage: runs[storage.key]


def _members(file: BinaryIO, size: int) -> dict[str, tuple[int, int]]:
    """Return where each member starts and ends."""
    members: dict[str, tuple[int, int]] = {}
    at = 0
    while at + BLOCK <= size:
        file.seek(at)
        header = file.read(BLOCK)
        if not any(header):
            break  # the end is marked by empty blocks
        if not is_tar(header):
            raise FormatError(f"the tar archive has no header at byte {at}")
        try:
            length = int(header[SIZE].split(b"\0")[0].strip() or b"0", 8)
        except ValueError:
            raise FormatError(f"the tar archive has a member of unknown size at byte {at}") from None
        start = at + BLOCK
        if not 0 <= length <= size - start:
            raise FormatError(f"a member of the tar archive claims {length} bytes; the file has {size - start} left")
        members.setdefault(header[NAME].split(b"\0")[0].decode("latin-1"), (start, start + length))
        at = start + -(-length // BLOCK) * BLOCK
    return members


def _storages(reader: BoundedReader) -> tuple[dict[str, StorageView], dict[str, Run]]:
    views: dict[str, StorageView] = {}
    runs: dict[str, Run] = {}
    for _ in range(_count(load_pickle(reader), "storages")):
        key, _location, kind = _triple(load_pickle(reader), "a storage")
        if not isinstance(kind, StorageClass):
            raise FormatError(f"storage {key!r} has no known class")
        (elements,) = reader.integers(1, f"storage {key!r}")
        runs[key] = reader.skip_run(elements, kind.dtype, f"storage {key!r}")
        views[key] = StorageView(Storage(key, kind.dtype, elements), 0, elements)
    rows = load_pickle(reader)
    if not isinstance(rows, list):
        raise FormatError("the views of storages are not a list")
    for row in rows:
        if not isinstance(row, tuple) or len(row) != 4 or not all(isinstance(field, int) for field in row):
            raise FormatError("a view of a storage is not (key, storage, offset, elements)")
        key, root_key, offset, elements = str(row[0]), str(row[1]), row[2], row[3]
        if root_key not in runs:
            raise FormatError(f"a view refers to storage {root_key[:40]!r}, which is not in the file")
        root = views[root_key].root
        if offset < 0 or elements < 0 or offset + elements > root.elements:
            raise FormatError(f"a view of storage {root_key[:40]!r} reaches beyond its {root.elements} elements")
        views[key] = StorageView(root, offset, elements)
    return views, runs


def _tensors(reader: BoundedReader, views: dict[str, StorageView]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for _ in range(_count(load_pickle(reader), "tensors")):
        key, storage, _kind = _triple(load_pickle(reader), "a tensor")
        # Four bytes of the rank, and four that an earlier version used: of no meaning, perhaps not zero.
        rank = reader.integers(1, f"tensor {key!r}")[0] & 0xFFFFFFFF
        if rank > MAX_RANK:
            raise FormatError(f"tensor {key!r} has {rank} dimensions; at most {MAX_RANK} are read")
        numbers = reader.integers(2 * rank + 1, f"tensor {key!r}")
        if any(number < 0 for number in numbers):
            raise FormatError(f"tensor {key!r} has a negative size, stride or offset")
        if str(storage) not in views:
            raise FormatError(f"tensor {key!r} lies in storage {str(storage)[:40]!r}, which is not in the file")
        tensors[key] = Tensor(views[str(storage)], numbers[-1], numbers[:rank], numbers[rank : 2 * rank])
    return tensors


def _count(value: object, what: str) -> int:
    if not isinstance(value, int) or value < 0:
        raise FormatError(f"the number of {what} is missing")
    return value


def _triple(value: object, what: str) -> tuple[str, Any, Any]:
    if not isinstance(value, tuple) or len(value) != 3 or not isinstance(value[0], int):
        raise FormatError(f"{what} is not (key, place, class)")
    return str(value[0]), value[1], value[2]
