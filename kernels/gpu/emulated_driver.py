"""A processor as device "gpu": the same .cu files as C++, for tests where there is no GPU. Slow, strict about limits.

What a GPU does at the same time happens here one after the other. EDGE_GPU_CHECK=1 checks every access, as
compute-sanitizer does: races, bounds, alignment, and reads of what nobody has written; a finding is raised. Of inline
PTX there is what cuda/fragments.cuh names: tensor cores, and copies that arrive when waited for.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_sdk.device_memory import seconds_of
from edge_sdk.errors import UsageError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import Function, Size
from edge_sdk.kernels.gpu.emulation_compiler import Compiler
from edge_sdk.kernels.gpu.emulation_contents import Contents
from edge_sdk.kernels.gpu.emulation_efficiency import Recording
from edge_sdk.kernels.gpu.emulation_findings import Fault, KernelFaultError, LaunchChecks
from edge_sdk.kernels.gpu.emulation_library import Library
from edge_sdk.kernels.gpu.exchange import Exchange, HostExchange
from edge_sdk.kernels.gpu.source import Source
from edge_sdk.kernels.gpu.transfer import Event, Queue, StagedTransfer, staging_sizes
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.spec import Array

ALIGNMENT = 256
MEMORY_VARIABLE = "EDGE_GPU_MEMORY"
CHECK_VARIABLE = "EDGE_GPU_CHECK"
DIVERGED, FAILED_CHECK = 1, 2  # how a launch may end (emulation/blocks.h)
GRID_LIMIT, THREADS_LIMIT, SHARED_LIMIT = (2**31 - 1, 65535, 65535), 1024, 48 << 10
BLOCK_LIMIT = (1024, 1024, 64)

_C_TYPES = {
    "float": np.dtype("float32"), "double": np.dtype("float64"), "int": np.dtype("int32"),
    "unsigned": np.dtype("uint32"),
    "long long": np.dtype("int64"), "index_t": np.dtype("int64"), "unsigned long long": np.dtype("uint64"),
    "short": np.dtype("int16"), "signed char": np.dtype("int8"), "unsigned char": np.dtype("uint8"),
    "bool": np.dtype("bool"), "__half": np.dtype("float16"), "__nv_bfloat16": np.dtype("uint16"),
}  # fmt: skip


class DeviceArray(np.ndarray[Any, np.dtype[Any]]):
    """An array in the emulated device's memory: no array of the host may be handed to a kernel, nor the other way."""


class _EmulatedFunction:
    """A kernel of one launch, whose arrays `check` takes note of."""

    def __init__(self, driver: EmulatedDriver, library: Library, kernel: str, checks: LaunchChecks | None) -> None:
        self._name, self._driver, self._checks = kernel, driver, checks
        self._parameters = library.kernels[kernel]
        self._entry = getattr(library.handle, f"launch_{kernel}")
        self._entry.argtypes = [*[ctypes.c_uint] * 7, ctypes.c_bool, ctypes.c_void_p]
        self._entry.restype = ctypes.c_int

    def check(self, values: Sequence[Any]) -> None:
        if len(values) != len(self._parameters):
            declared = ", ".join(parameter.type for parameter in self._parameters)
            raise TypeError(f"{self._name}: {len(values)} arguments; it takes {declared}")
        for index, (parameter, value) in enumerate(zip(self._parameters, values, strict=True)):
            _check_value(self._name, index, parameter.type, value)
        if self._checks:
            self._checks.take(values)

    def __call__(self, grid: Size, block: Size, shared: int, arguments: int) -> None:
        name = self._name
        if any(not 1 <= size <= limit for size, limit in zip(grid, GRID_LIMIT, strict=True)):
            raise ValueError(f"{name}: a grid of {grid} blocks; wanted at least 1, at most {GRID_LIMIT}")
        if any(not 1 <= size <= limit for size, limit in zip(block, BLOCK_LIMIT, strict=True)):
            raise ValueError(f"{name}: a block of {block} threads; wanted at least 1, at most {BLOCK_LIMIT}")
        if block[0] * block[1] * block[2] > THREADS_LIMIT or shared > SHARED_LIMIT:
            raise ValueError(f"{name}: {block} threads, {shared} bytes shared; at most {THREADS_LIMIT} threads")
        if self._checks:
            self._checks.begin()
        outcome = self._entry(*grid, *block, shared, self._driver.reversed, arguments)
        if outcome == DIVERGED:
            raise RuntimeError(f"{name}: the threads of a block wait for each other at different barriers")
        if self._checks:
            if outcome == FAILED_CHECK:
                raise self._checks.fault(grid, block, self._driver.reversed)
            self._checks.end()


class _Happened:
    """A point of a queue that has been passed."""

    def synchronize(self) -> None:
        """Nothing is left to wait for."""


class EmulatedDriver:
    """Compiles with g++, runs thread by thread. Kernels' arguments are checked against their declared types."""

    stream = None
    architecture = "emulated"
    description = "a processor that emulates a GPU"
    runs_ahead = 1
    reserve = 64 << 10

    def __init__(self) -> None:
        self.reversed = False
        """Whether blocks and threads run from the last to the first."""
        self.checked = os.environ.get(CHECK_VARIABLE, "") not in ("", "0")
        """Whether every access of the kernels that are asked for is checked; else what is wrong may pass unseen."""
        self.recording: Recording | None = None
        """What takes note of the accesses of the kernels that are asked for, where they are checked."""
        self.memory_bytes = _memory_of_variable()
        """How much memory the device has; None: as much as the process."""
        self.used_bytes = 0
        """How much of it arrays take."""
        self._compiler = Compiler()
        self._loaded: dict[tuple[Source, bool], Library] = {}
        self._contents = Contents()

    def function(self, source: Source, kernel: str) -> Function:
        """Return a kernel of a source, compiled and loaded once."""
        key = (source, self.checked)
        if key not in self._loaded:
            self._loaded[key] = self._compiler.load(source, checked=self.checked)
        library = self._loaded[key]
        if kernel not in library.kernels:
            raise KeyError(f"{source.name}.cu declares no kernel {kernel!r}; it has {', '.join(library.kernels)}")
        checks = LaunchChecks(library, kernel, self._contents, self.recording) if self.checked else None
        return _EmulatedFunction(self, library, kernel, checks)

    def allocate(self, size: int) -> Array:
        """Return bytes that are all 255: as floats no numbers, so that what is read before it is written shows."""
        if self.memory_bytes is not None and self.used_bytes + self.taken(size) > self.memory_bytes:
            raise MemoryError(f"device 'gpu' has {self.memory_bytes - self.used_bytes} bytes left, not {size}")
        memory = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        self.used_bytes += self.taken(size)
        start = -memory.ctypes.data % ALIGNMENT
        if self.checked:
            self._contents.allocate(memory.ctypes.data + start, size)
        weakref.finalize(memory, self._release, memory.ctypes.data + start, self.taken(size))
        return memory[start : start + size].view(DeviceArray)

    def taken(self, size: int) -> int:
        """Return a multiple of the alignment."""
        return -(-size // ALIGNMENT) * ALIGNMENT

    def free_bytes(self) -> int | None:
        """Return what is left of the memory that it is said to have."""
        return None if self.memory_bytes is None else self.memory_bytes - self.used_bytes

    def staging_bytes(self, inputs: Sequence[int]) -> int:
        """Return what a transfer takes for inputs of so many bytes."""
        return sum(map(self.taken, staging_sizes(inputs)))

    def address(self, array: Array) -> int:
        """Return where an array of the device starts; raises TypeError for one of the host."""
        if not isinstance(array, DeviceArray):
            raise TypeError("an array of the host was handed to a kernel of the device")
        address = int(array.ctypes.data)
        if self.checked:
            self._contents.give_address(address, array.nbytes)
        return address

    def write(self, target: Array, source: Array) -> None:
        """Copy to the device."""
        self.address(target)
        np.copyto(target, source)
        self._contents.write(target, source)

    def read(self, source: Array) -> Array:
        """Copy to the host; where accesses are checked, raises KernelFaultError for what nobody has written."""
        self.address(source)
        if missing := self._contents.unwritten(source):
            message = (
                f"uninitialised: the host reads {source.nbytes} bytes of the device, of which {missing} are unwritten"
            )
            raise KernelFaultError(Fault.UNINITIALISED, message)
        return np.array(source, subok=False)

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device."""
        self.address(target), self.address(source)
        np.copyto(target, source)
        self._contents.copy(target, source)

    def forget(self, array: Array) -> None:
        """Take what an array holds for nothing: a kernel must write it before it is read."""
        self._contents.mark(array, written=False)

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return a loop over the calls."""

        def run() -> None:
            for call in calls:
                call.function(*call.arguments)

        return run

    def transfer(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> StagedTransfer:
        """Return what copies through staging memory, as on a GPU, but at once."""
        return StagedTransfer(self, inputs, outputs)

    def wait(self) -> None:
        """Everything has happened when a launch returns."""

    def timed(self, works: Sequence[Callable[[], None]]) -> list[float]:
        """Do the works: the seconds are those of the emulation, and say nothing of a GPU."""
        return [seconds_of(work) for work in works]

    def exchange(self, communicator: Communicator) -> Exchange:
        """Return one through the host's memory."""
        return HostExchange(communicator)

    def pinned(self, size: int) -> Array:
        """Return bytes of the host."""
        return np.empty(size, np.uint8)

    def upload(self, target: Array, source: Array) -> None:
        """Copy to the device."""
        self.write(target, source)

    def download(self, target: Array, source: Array) -> None:
        """Copy to the host."""
        np.copyto(target, self.read(source))

    def record(self, queue: Queue) -> Event:
        """Return a point that has been passed."""
        return _Happened()

    def let_wait(self, queue: Queue, event: Event) -> None:
        """There is nothing to wait for."""

    def _release(self, start: int, size: int) -> None:
        self.used_bytes -= size
        self._contents.release(start)


def _memory_of_variable() -> int | None:
    """The number of bytes in the environment variable; raises UsageError where it is none."""
    value = os.environ.get(MEMORY_VARIABLE, "").strip()
    if value and not (value.isascii() and value.isdecimal()):
        raise UsageError(f"{MEMORY_VARIABLE} is the emulated GPU's memory in bytes, not {value!r}")
    return int(value) if value else None


def _check_value(kernel: str, index: int, declared: str, value: Any) -> None:
    wanted = _C_TYPES.get(declared.removesuffix("*").strip())
    found = getattr(value, "dtype", None)
    is_pointer, plain = isinstance(value, DeviceArray), isinstance(value, np.generic)
    fits = is_pointer == declared.endswith("*") and (is_pointer or plain) and wanted in (None, found)
    if not fits:
        raise TypeError(f"{kernel}: argument {index} is {type(value).__name__} of {found}; wanted {declared}")
