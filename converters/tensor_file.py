"""Tensors that lie in a file: their shapes are known at once, their bytes are looked at when they are asked for.

The file is mapped into memory, so that reading a tensor takes none of its own unless its bytes have to be changed.
"""

from __future__ import annotations

import math
import mmap
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edge_sdk.errors import FormatError, UsageError
from edge_sdk.spec import Array

ByteOrder = Literal["<", ">"]

# The dtypes of stored elements and their bytes. bfloat16, which NumPy lacks, is read as float32.
ELEMENT_BYTES: Mapping[str, int] = {
    "complex128": 16, "complex64": 8, "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
}  # fmt: skip
# An empty tensor takes no memory, but NumPy refuses other dimensions whose product overflows.
MAX_EMPTY_EXTENT = 1 << 31
PIECE_BYTES = 1 << 24
"""How much of a file is looked at before its pages are given back."""


@dataclass(frozen=True)
class Run:
    """`count` elements of `dtype`, one behind the other, from byte `start` of a file on.

    `checksum` is their CRC-32 where the file tells it.
    """

    start: int
    count: int
    dtype: str
    order: ByteOrder = "<"
    checksum: int | None = None

    @property
    def bytes(self) -> int:
        """The length in bytes."""
        return self.count * ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True)
class Window:
    """A tensor as a strided window on a run; `offset` and `strides` count elements."""

    run: Run
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def checked(self, name: str) -> Window:
        """Return the window with strides that NumPy takes.

        Raises:
            FormatError: it reaches beyond its run, or is larger than it.
        """
        if 0 in self.shape:
            if math.prod(dimension for dimension in self.shape if dimension) > MAX_EMPTY_EXTENT:
                raise FormatError(
                    f"tensor {name[:80]!r} is empty, with other dimensions beyond any use: {list(self.shape)}"
                )
            return self
        if math.prod(self.shape) > self.run.count:
            raise FormatError(
                f"tensor {name[:80]!r} of shape {list(self.shape)} has more elements than its storage, "
                f"{self.run.count}; if it was expanded, save it after .contiguous()"
            )
        # A dimension of one may carry any stride, even one that does not fit in 64 bits once counted in bytes.
        strides = tuple(
            stride if dimension > 1 else 1 for dimension, stride in zip(self.shape, self.strides, strict=True)
        )
        end = self.offset + 1
        end += sum((dimension - 1) * stride for dimension, stride in zip(self.shape, strides, strict=True))
        if end > self.run.count:
            raise FormatError(f"tensor {name[:80]!r} ends at element {end} of a storage of {self.run.count}")
        return replace(self, strides=strides)


def contiguous(run: Run, shape: tuple[int, ...]) -> Window:
    """The whole of a run as a tensor whose last axis is the closest in memory."""
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Window(run, 0, shape, strides)


class TensorFile(Mapping[str, Array]):
    """Name → array, in the file's order.

    The arrays are read-only. They are views of the mapped file, perhaps strided, and tensors that share a storage share
    memory; only bfloat16, which becomes float32, booleans and the other byte order are copies. A run that carries a
    checksum is compared with it when the first of its tensors is asked for.

    Raises:
        FormatError: by the constructor, a tensor reaches beyond the file; by `[name]`, its bytes are damaged.
    """

    def __init__(self, path: Path, windows: Mapping[str, Window]) -> None:
        self.path = path
        self._map = _mapped(path)
        self._windows = {name: window.checked(name) for name, window in windows.items()}
        for name, window in self._windows.items():
            if window.run.start + window.run.bytes > len(self._map):
                raise FormatError(f"the file ends before the storage of tensor {name[:80]!r} does")
        self._compared: set[Run] = set()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, known without a look at its bytes."""
        return {name: window.shape for name, window in self._windows.items()}

    @property
    def dtypes(self) -> dict[str, str]:
        """The dtype that each tensor has in the file."""
        return {name: window.run.dtype for name, window in self._windows.items()}

    def __getitem__(self, name: str) -> Array:
        window = self._windows[name]
        self._compare(name, window.run)
        array = self._decoded(window)
        array.flags.writeable = False
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._windows)

    def __len__(self) -> int:
        return len(self._windows)

    def __contains__(self, name: object) -> bool:
        return name in self._windows

    def give_back(self) -> None:
        """Let the system take the memory of all that was looked at; it is read again when it is asked for."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which takes such pages by itself when it needs them
            self._map.madvise(mmap.MADV_DONTNEED)

    def _decoded(self, window: Window) -> Array:
        run = window.run
        if 0 in window.shape:
            return np.empty(window.shape, "float32" if run.dtype == "bfloat16" else run.dtype)
        stored = {"bfloat16": "uint16", "bool": "uint8"}.get(run.dtype, run.dtype)
        flat = np.frombuffer(self._map, np.dtype(stored).newbyteorder(run.order), run.count, run.start)
        strides = [stride * flat.itemsize for stride in window.strides]
        array = np.lib.stride_tricks.as_strided(flat[window.offset :], window.shape, strides, writeable=False)
        if run.dtype == "bfloat16":  # the upper half of a float32
            wide = array.astype(np.uint32)
            wide <<= np.uint32(16)
            return wide.view(np.float32)
        return np.asarray(array != 0) if run.dtype == "bool" else array.astype(run.dtype, copy=False)

    def _compare(self, name: str, run: Run) -> None:
        if run.checksum is None or run in self._compared:
            return
        found, end = 0, run.start + run.bytes
        with memoryview(self._map) as content:
            for start in range(run.start, end, PIECE_BYTES):
                found = zlib.crc32(content[start : min(end, start + PIECE_BYTES)], found)
                self.give_back()
        if found != run.checksum:
            raise FormatError(
                f"{self.path}: the bytes of tensor {name[:80]!r} do not match their checksum; the file is damaged, "
                "fetch it again"
            )
        self._compared.add(run)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise FormatError("the file is empty") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
