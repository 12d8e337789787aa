"""What the memory of the emulated device holds, for its checks: where something was put, and which addresses."""

from __future__ import annotations

import ctypes
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.kernels.gpu.emulation_library import Extent
from edge_sdk.spec import Array


class RangeStructure(ctypes.Structure):
    """`Range` of checks.cpp."""

    _fields_ = (("start", ctypes.c_uint64), ("size", ctypes.c_uint64), ("written", ctypes.c_void_p))


@dataclass(frozen=True)
class _Allocation:
    start: int
    written: Array
    """A byte for each of its bytes: 1 where something was put."""

    @property
    def end(self) -> int:
        return self.start + self.written.size


class Contents:
    """Which bytes of the device hold something. Memory that it was not told of counts as written."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._allocations: dict[int, _Allocation] = {}
        self._sizes: dict[int, int] = {}
        self._tables: dict[int, tuple[Extent, ...]] = {}

    def allocate(self, start: int, size: int) -> None:
        """Bytes that hold nothing yet."""
        self.release(start)
        insort(self._starts, start)
        self._allocations[start] = _Allocation(start, np.zeros(size, np.uint8))

    def release(self, start: int) -> None:
        """They are no longer of the device."""
        if self._allocations.pop(start, None) is not None:
            self._starts.remove(start)

    def give_address(self, address: int, size: int) -> None:
        """Say of an address that somebody asked for it, to hand an array of so many bytes to a kernel."""
        if size:  # an array of nothing may begin where another one does
            self._sizes[address] = size

    def write(self, target: Array, source: Array) -> None:
        """Say that an array of the host was copied to the device; it may be a table of addresses."""
        self.mark(target)
        if source.dtype == np.uint64:
            self._tables[int(target.ctypes.data)] = tuple(
                Extent("an array of", address, self._sizes[address])
                for address in source.ravel().tolist()
                if address in self._sizes
            )

    def addresses_in(self, array: Array) -> tuple[Extent, ...]:
        """Return the arrays whose addresses were written to this one."""
        return self._tables.get(int(array.ctypes.data), ())

    def mark(self, array: Array, *, written: bool = True) -> None:
        """Say of an array that all of it holds something, or nothing."""
        if (flags := self._flags(array)) is not None:
            flags[...] = written

    def copy(self, target: Array, source: Array) -> None:
        """Say that an array holds where another one does."""
        flags, from_flags = self._flags(target), self._flags(source)
        if flags is not None:
            flags[...] = 1 if from_flags is None else from_flags

    def unwritten(self, array: Array) -> int:
        """Return how many bytes of an array hold nothing."""
        flags = self._flags(array)
        return 0 if flags is None else int(flags.size - np.count_nonzero(flags))

    def ranges(self, extents: Sequence[Extent]) -> tuple[Any, int]:
        """Return what checks.cpp takes, and how many: sorted ranges that do not touch, unless of two allocations."""
        merged: list[tuple[int, int, _Allocation | None]] = []
        for extent in sorted(extents, key=lambda one: one.start):
            allocation = self._holding(extent.start)
            if merged and extent.start <= merged[-1][1] and allocation is merged[-1][2]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], extent.end), allocation)
            elif extent.size:
                merged.append((extent.start, extent.end, allocation))
        ranges: Any = (RangeStructure * max(len(merged), 1))()
        for one, (start, end, allocation) in zip(ranges, merged, strict=False):
            flags = allocation.written.ctypes.data + start - allocation.start if allocation else None
            one.start, one.size, one.written = start, end - start, flags
        return ranges, len(merged)

    def _holding(self, address: int) -> _Allocation | None:
        behind = bisect_right(self._starts, address)
        allocation = self._allocations[self._starts[behind - 1]] if behind else None
        return allocation if allocation is not None and address < allocation.end else None

    def _flags(self, array: Array) -> Array | None:
        """The flags of an array's bytes, a view with one more axis; None where nothing is known of them."""
        address = int(array.ctypes.data)
        allocation = self._holding(address)
        if allocation is None or array.size == 0:
            return None
        shape, strides = (*array.shape, array.itemsize), (*array.strides, 1)
        return np.ndarray(shape, np.uint8, allocation.written, address - allocation.start, strides)
