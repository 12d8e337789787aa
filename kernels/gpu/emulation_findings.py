"""Checked launches of the emulated device: what they may touch, and in words what emulation/checks.cpp finds."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import Enum
from typing import Any

from edge_sdk.kernels.gpu.driver import Size
from edge_sdk.kernels.gpu.emulation_contents import Contents, RangeStructure
from edge_sdk.kernels.gpu.emulation_efficiency import Recording
from edge_sdk.kernels.gpu.emulation_library import Extent, Library
from edge_sdk.spec import Array


class Fault(Enum):
    """What is wrong with an access."""

    RACE = 1
    BOUNDS = 2
    MISALIGNED = 3
    UNINITIALISED = 4
    UNDER_WAY = 5


_WORDS = {
    Fault.RACE: "race", Fault.BOUNDS: "out of bounds", Fault.MISALIGNED: "misaligned",
    Fault.UNINITIALISED: "uninitialised", Fault.UNDER_WAY: "copy under way",
}  # fmt: skip


class KernelFaultError(RuntimeError):
    """A kernel does what has no defined result on a GPU."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class FindingStructure(ctypes.Structure):
    """`Finding` of checks.cpp."""

    _fields_ = (
        ("address", ctypes.c_uint64), ("place", ctypes.c_uint64), ("other_place", ctypes.c_uint64),
        ("dynamic_start", ctypes.c_uint64), ("dynamic_bytes", ctypes.c_uint64),
        ("kind", ctypes.c_uint32), ("size", ctypes.c_uint32), ("writes", ctypes.c_uint32),
        ("other_writes", ctypes.c_uint32), ("first_block", ctypes.c_uint32), ("block", ctypes.c_uint32),
        ("thread", ctypes.c_uint32), ("has_other", ctypes.c_uint32), ("other_block", ctypes.c_uint32),
        ("other_thread", ctypes.c_uint32),
    )  # fmt: skip


class LaunchChecks:
    """The checks of one launch: told of its arguments when it is bound, it says before each run what may be touched."""

    def __init__(self, library: Library, kernel: str, contents: Contents, recording: Recording | None) -> None:
        self._library, self._kernel, self._contents, self._recording = library, kernel, contents, recording
        self._arrays: list[tuple[str, Array]] = []
        self._extents: list[Extent] = []
        shared = library.shared
        library.handle.emulated_shared((RangeStructure * len(shared))(*map(_range, shared)), len(shared))

    def take(self, values: Sequence[Any]) -> None:
        """Take note of the arrays among the arguments."""
        names = [parameter.name for parameter in self._library.kernels[self._kernel]]
        self._arrays = [(name, value) for name, value in zip(names, values, strict=True) if hasattr(value, "ctypes")]

    def begin(self) -> None:
        """Say what the run that comes may touch: its arguments, and the arrays whose addresses stand in these."""
        self._extents = [Extent(name, int(array.ctypes.data), array.nbytes) for name, array in self._arrays]
        for name, array in self._arrays:
            named = self._contents.addresses_in(array)
            self._extents.extend(Extent(f"an array of {name}", one.start, one.size) for one in named)
        self._library.handle.emulated_ranges(*self._contents.ranges(self._extents))
        if self._recording:
            self._recording.begin(self._library)

    def end(self) -> None:
        """The run is over, and nothing was found."""
        if self._recording:
            self._recording.end(self._library, self._kernel)

    def fault(self, grid: Size, block: Size, backwards: bool) -> KernelFaultError:
        """Return the exception for what was found."""
        self._library.handle.emulated_finding.restype = ctypes.POINTER(FindingStructure)
        finding = self._library.handle.emulated_finding().contents
        kind = Fault(finding.kind)

        def thread(block_count: int, number: int) -> str:
            index = block_count - finding.first_block
            if backwards:
                index = grid[0] * grid[1] * grid[2] - 1 - index
            return f"thread {_index(number, block)} of block {_index(index, grid)}"

        does = f"{'writes' if finding.writes else 'reads'} {finding.size} byte{'s' if finding.size > 1 else ''}"
        where = self._library.place(finding.place)
        array = _array_at(int(finding.address), self._candidates(finding))
        what = f"{self._kernel}: {thread(finding.block, finding.thread)} {does} of {array}, {where}"
        other = ""
        if finding.has_other:
            did = "copies there" if kind is Fault.UNDER_WAY else "wrote there" if finding.other_writes else "read there"
            there = self._library.place(finding.other_place)
            other = f"{thread(finding.other_block, finding.other_thread)} {did}, {there}"
        reason = {
            Fault.RACE: f"; {other}, and nothing orders the two",
            Fault.BOUNDS: "; neither the launch's arguments nor shared memory reach there",
            Fault.MISALIGNED: f"; the address is no multiple of {finding.size}",
            Fault.UNINITIALISED: "; nobody has written there",
            Fault.UNDER_WAY: f"; {other}, and the copy has not been waited for",
        }[kind]
        return KernelFaultError(kind, f"{_WORDS[kind]}: {what}{reason}")

    def _candidates(self, finding: FindingStructure) -> list[Extent]:
        """Whatever may be meant by an address."""
        dynamic = Extent("dynamic shared memory", finding.dynamic_start, finding.dynamic_bytes)
        return [*self._extents, *self._library.shared, *([dynamic] if dynamic.size else [])]


def _range(extent: Extent) -> RangeStructure:
    return RangeStructure(extent.start, extent.size, None)


def _index(number: int, sizes: Size) -> Size:
    return number % sizes[0], number // sizes[0] % sizes[1], number // (sizes[0] * sizes[1])


def _array_at(address: int, candidates: Sequence[Extent]) -> str:
    """The smallest array that holds an address, or else the nearest one."""
    inside = [one for one in candidates if one.start <= address < one.end]
    if inside:
        one = min(inside, key=lambda extent: extent.size)
        return f"{one.name} ({one.size} bytes) at {address - one.start}"
    if not candidates:
        return "memory"
    one = min(candidates, key=lambda extent: max(extent.start - address, address - extent.end))
    if address < one.start:
        return f"memory {one.start - address} bytes before {one.name}"
    return f"memory {address - one.end} bytes behind {one.name} ({one.size} bytes)"
