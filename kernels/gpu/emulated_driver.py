"""A processor as device "gpu": the same .cu files as C++, for tests where there is no GPU. Slow, strict about limits.

What a GPU does at the same time happens here one after the other, so races show only where `reversed` order changes the
results. Of inline PTX there is what cuda/fragments.cuh names: tensor cores, and copies that arrive when waited for.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.device_memory import seconds_of
from edge_sdk.errors import DeviceError, UsageError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.compiled_files import compiled
from edge_sdk.kernels.gpu.driver import Function, Size
from edge_sdk.kernels.gpu.exchange import Exchange, HostExchange
from edge_sdk.kernels.gpu.source import Source
from edge_sdk.kernels.gpu.transfer import Event, Queue, StagedTransfer, staging_sizes
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.spec import Array

SHIM = Path(__file__).parent / "emulation"
OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off", "-w")
ALIGNMENT = 256
MEMORY_VARIABLE = "EDGE_GPU_MEMORY"
GRID_LIMIT, THREADS_LIMIT, SHARED_LIMIT = (2**31 - 1, 65535, 65535), 1024, 48 << 10

_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(([^)]*)\)')
_C_TYPES = {
    "float": np.dtype("float32"), "double": np.dtype("float64"), "int": np.dtype("int32"),
    "unsigned": np.dtype("uint32"),
    "long long": np.dtype("int64"), "index_t": np.dtype("int64"), "unsigned long long": np.dtype("uint64"),
    "short": np.dtype("int16"), "signed char": np.dtype("int8"), "unsigned char": np.dtype("uint8"),
    "bool": np.dtype("bool"), "__half": np.dtype("float16"), "__nv_bfloat16": np.dtype("uint16"),
}  # fmt: skip


class DeviceArray(np.ndarray[Any, np.dtype[Any]]):
    """An array in the emulated device's memory: no array of the host may be handed to a kernel, nor the other way."""


@dataclass(frozen=True)
class _EmulatedFunction:
    name: str
    entry: Any
    parameters: tuple[str, ...]
    driver: EmulatedDriver

    def check(self, values: Sequence[Any]) -> None:
        if len(values) != len(self.parameters):
            raise TypeError(f"{self.name}: {len(values)} arguments; it takes {', '.join(self.parameters)}")
        for index, (declared, value) in enumerate(zip(self.parameters, values, strict=True)):
            _check_value(self.name, index, declared, value)

    def __call__(self, grid: Size, block: Size, shared: int, arguments: int) -> None:
        if any(not 1 <= size <= limit for size, limit in zip(grid, GRID_LIMIT, strict=True)):
            raise ValueError(f"{self.name}: a grid of {grid} blocks; wanted at least 1, at most {GRID_LIMIT}")
        if not 1 <= block[0] * block[1] * block[2] <= THREADS_LIMIT or shared > SHARED_LIMIT:
            raise ValueError(f"{self.name}: {block} threads, {shared} bytes shared; at most {THREADS_LIMIT} threads")
        if not self.entry(*grid, *block, shared, self.driver.reversed, arguments):
            raise RuntimeError(f"{self.name}: the threads of a block wait for each other at different barriers")


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
        self.memory_bytes = _memory_of_variable()
        """How much memory the device has; None: as much as the process."""
        self.used_bytes = 0
        """How much of it arrays take."""
        self._compiler = shutil.which("g++")
        if self._compiler is None:
            raise DeviceError("device 'gpu' is emulated here (EDGE_GPU=emulated), which needs g++; install it")
        self._loaded: dict[Source, tuple[ctypes.CDLL, dict[str, tuple[str, ...]]]] = {}

    def function(self, source: Source, kernel: str) -> Function:
        """Return a kernel of a source, compiled and loaded once."""
        if source not in self._loaded:
            self._loaded[source] = self._load(source)
        library, kernels = self._loaded[source]
        if kernel not in kernels:
            raise KeyError(f"{source.name}.cu declares no kernel {kernel!r}; it has {', '.join(kernels)}")
        entry = getattr(library, f"launch_{kernel}")
        entry.argtypes = [*[ctypes.c_uint] * 7, ctypes.c_bool, ctypes.c_void_p]
        entry.restype = ctypes.c_bool
        return _EmulatedFunction(kernel, entry, kernels[kernel], self)

    def allocate(self, size: int) -> Array:
        """Return bytes that are all 255: as floats no numbers, so that what is read before it is written shows."""
        if self.memory_bytes is not None and self.used_bytes + self.taken(size) > self.memory_bytes:
            raise MemoryError(f"device 'gpu' has {self.memory_bytes - self.used_bytes} bytes left, not {size}")
        memory = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        self.used_bytes += self.taken(size)
        weakref.finalize(memory, self._release, self.taken(size))
        start = -memory.ctypes.data % ALIGNMENT
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
        return int(array.ctypes.data)

    def write(self, target: Array, source: Array) -> None:
        """Copy to the device."""
        self.address(target)
        np.copyto(target, source)

    def read(self, source: Array) -> Array:
        """Copy to the host."""
        self.address(source)
        return np.array(source, subok=False)

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device."""
        self.address(target), self.address(source)
        np.copyto(target, source)

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
        self.address(source)
        np.copyto(target, source)

    def record(self, queue: Queue) -> Event:
        """Return a point that has been passed."""
        return _Happened()

    def let_wait(self, queue: Queue, event: Event) -> None:
        """There is nothing to wait for."""

    def _release(self, size: int) -> None:
        self.used_bytes -= size

    @cached_property
    def _shim(self) -> str:
        return (SHIM / "cuda.h").read_text(encoding="utf-8")

    def _load(self, source: Source) -> tuple[ctypes.CDLL, dict[str, tuple[str, ...]]]:
        with tempfile.TemporaryDirectory(prefix="edge-gpu-") as folder:
            kernels = self._declared(source, Path(folder))
            launchers = "\n".join(_launcher(name, barriers=source.has_barriers) for name in kernels)
            text = f'#include "cuda.h"\n{source.text}\n{launchers}\n'
            key = "|".join(("g++", platform.machine(), *OPTIONS, self._shim, text))
            path = Path(folder) / "kernels.so"
            path.write_bytes(compiled(key, lambda: self._compile(text, source, Path(folder))))
            return ctypes.CDLL(str(path)), kernels

    def _declared(self, source: Source, folder: Path) -> dict[str, tuple[str, ...]]:
        """The kernels of a source and the C types of their parameters, all macros expanded."""
        plain = self._run(["-E", "-P", "-DEMULATED", "-x", "c++", "-"], source.text, source, folder)
        return {
            name: tuple(_type_of(parameter) for parameter in parameters.split(",") if parameter.strip())
            for name, parameters in _KERNEL.findall(plain)
        }

    def _compile(self, text: str, source: Source, folder: Path) -> bytes:
        target = folder / "compiled.so"
        self._run([*OPTIONS, f"-I{SHIM}", "-x", "c++", "-", "-o", str(target)], text, source, folder)
        return target.read_bytes()

    def _run(self, options: Sequence[str], text: str, source: Source, folder: Path) -> str:
        command = [str(self._compiler), *options]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=folder, check=False)  # noqa: S603 - g++ on our own sources
        if done.returncode:
            raise RuntimeError(f"{source.name}.cu for {source.dtype} does not compile as C++:\n{done.stderr[:4000]}")
        return done.stdout


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


def _type_of(parameter: str) -> str:
    """The type of one declared parameter without its name, const and restrict: "float*"."""
    words = re.sub(r"\b(const|__restrict__|struct)\b", " ", parameter)
    pointer = "*" in words
    names = words.replace("*", " ").split()
    return " ".join(names[:-1]) + ("*" if pointer else "")


def _launcher(kernel: str, *, barriers: bool) -> str:
    sizes = "unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared"
    return (
        f'extern "C" bool launch_{kernel}({sizes}, bool reversed, void** values) {{\n'
        f"  return emulation::launch(dim3(gx, gy, gz), dim3(bx, by, bz), shared, {str(barriers).lower()}, reversed,\n"
        f"                           [=] {{ emulation::call({kernel}, values); }});\n}}"
    )
