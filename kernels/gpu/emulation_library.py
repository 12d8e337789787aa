"""A CUDA source as it was compiled for the processor: its kernels, its shared arrays, and where its code comes from."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edge_sdk.kernels.gpu.source import Source

_STATIC = re.compile(r"^([0-9a-f]+) ([0-9a-f]+) [bBdDvV] (_ZZ\S+)$", re.MULTILINE)
_LAUNCHER = re.compile(r"^([0-9a-f]+) [0-9a-f]+ T (launch_\w+)$", re.MULTILINE)
_LAST_NAME = re.compile(r".*E(\d+)([A-Za-z_]\w*)$")
_LOCATION = re.compile(r"([\w.<>-]+):(\d+)")


@dataclass(frozen=True)
class Parameter:
    """What a kernel takes: a C type without const and restrict, such as "float*", and a name."""

    type: str
    name: str


@dataclass(frozen=True)
class Extent:
    """Bytes that have a name: an argument of a launch, an array of shared memory."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.size


@dataclass(frozen=True)
class Library:
    """A source compiled and loaded, with the parameters of its kernels."""

    source: Source
    handle: ctypes.CDLL
    kernels: Mapping[str, tuple[Parameter, ...]]
    code: Callable[[], bytes]
    """The library as a file."""

    @cached_property
    def shared(self) -> tuple[Extent, ...]:
        """The arrays of shared memory: all that its functions declare as static. By their addresses."""
        symbols = self._asked("nm", "-S", "--defined-only")
        value, launcher = _LAUNCHER.findall(symbols)[0]
        base = (ctypes.cast(getattr(self.handle, launcher), ctypes.c_void_p).value or 0) - int(value, 16)
        found = _STATIC.findall(symbols)
        extents = [Extent(_last_name(name), base + int(start, 16), int(size, 16)) for start, size, name in found]
        return tuple(sorted(extents, key=lambda one: one.start))

    def place(self, behind: int) -> str:
        """Return the lines of source that an address lies behind, from a called function to its callers."""
        if shutil.which("addr2line") is None:
            return "code that addr2line, which is missing here, would name"
        lines = []
        for file, number in _LOCATION.findall(self._asked("addr2line", "-i", "-s", hex(behind - 1), "-e")):
            if file == f"{self.source.name}.cu" and 0 < int(number) <= len(self.source.lines):
                line = self.source.lines[int(number) - 1]
                file, number = line.file, line.number
            lines.append(f"{file}:{number}")
        return " < ".join(dict.fromkeys(lines)) or "unknown code"

    def _asked(self, *command: str) -> str:
        """What a tool of binutils says about the file."""
        with tempfile.TemporaryDirectory(prefix="edge-gpu-") as folder:
            path = Path(folder) / "kernels.so"
            path.write_bytes(self.code())
            done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)  # noqa: S603 - on our own file
            return done.stdout


def _last_name(mangled: str) -> str:
    found = _LAST_NAME.fullmatch(mangled)
    return f"shared {found.group(2)[: int(found.group(1))]}" if found else f"shared {mangled}"
