"""The container of PyTorch 0.2 to 1.5: five pickles in a row, then the storages, each behind its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from edge_sdk.converters.tensor_file import Run
from edge_sdk.converters.torch.stream import BoundedReader
from edge_sdk.converters.torch.symbols import Storage, Tensor
from edge_sdk.converters.torch.unpickler import load_pickle, opcode_limit
from edge_sdk.errors import FormatError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read_legacy(file: BinaryIO, size: int) -> tuple[Any, Callable[[Storage], Run]]:
    """Return the pickled object of a file of `size` bytes, and the function that finds a storage in it.

    Raises:
        FormatError: the file is truncated, corrupt, or no checkpoint of `torch.save`.
    """
    reader = BoundedReader(file, 0, size)
    magic = load_pickle(reader)
    if not isinstance(magic, int) or magic != MAGIC:
        raise FormatError("the magic number of a PyTorch checkpoint is missing")
    protocol = load_pickle(reader)
    if not isinstance(protocol, int) or protocol != PROTOCOL:
        raise FormatError(f"the legacy protocol version is not {PROTOCOL}")
    load_pickle(reader)  # the writer's system: storages are little-endian whatever it says
    limit = opcode_limit(size)
    root = load_pickle(reader, limit=limit)
    keys = load_pickle(reader, limit=limit)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FormatError("the list of storages is not a list of keys")
    declared = _declared_storages(root)
    runs: dict[str, Run] = {}
    for key in keys:
        if key not in declared or key in runs:
            raise FormatError(f"storage {key[:40]!r} is listed but belongs to no tensor, or is listed twice")
        runs[key] = _run(reader, declared[key])

    def locate(storage: Storage) -> Run:
        if storage.key not in runs:
            raise FormatError(f"the file lacks storage {storage.key[:40]!r}")
        return runs[storage.key]

    return root, locate


def _run(reader: BoundedReader, storage: Storage) -> Run:
    (elements,) = reader.integers(1, f"storage {storage.key[:40]!r}")
    if elements != storage.elements:
        raise FormatError(f"storage {storage.key[:40]!r} has {elements} elements; the pickle says {storage.elements}")
    return reader.skip_run(elements, storage.dtype, f"storage {storage.key[:40]!r}")


def _declared_storages(root: Any) -> dict[str, Storage]:
    """Return every storage of the pickle: those of a checkpoint's optimizer, too, precede or follow the weights'."""
    declared: dict[str, Storage] = {}
    seen: set[int] = set()
    pending = [root]
    while pending:  # no recursion: a hostile pickle may nest deeper than the call stack
        value = pending.pop()
        if isinstance(value, Tensor):
            storage = value.view.root
            if declared.setdefault(storage.key, storage) != storage:
                raise FormatError(f"storage {storage.key[:40]!r} is declared with two sizes or dtypes")
        elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
            seen.add(id(value))
            pending.extend(value.values() if isinstance(value, dict) else value)
    return declared
