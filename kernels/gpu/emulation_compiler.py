"""CUDA sources as libraries for the processor: by g++, with the files in emulation/; every access checked, or none.

With checks, GCC puts its hooks for ThreadSanitizer in front of every access, and emulation/checks.cpp stands in for
that library. Loads and stores must be those of the source then: no pass may take them apart or spare them.
"""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_sdk.errors import DeviceError
from edge_sdk.kernels.gpu.compiled_files import compiled
from edge_sdk.kernels.gpu.emulation_library import Library, Parameter
from edge_sdk.kernels.gpu.source import Source

SHIM = Path(__file__).parent / "emulation"
OPTIONS = (
    "-std=c++17", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off", "-fno-gnu-unique", "-fdata-sections",
    "-U_FORTIFY_SOURCE", "-w",
)  # fmt: skip
CHECKED = ("-DCHECKED", "-g1")
HOOKED = (
    "-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0", "-fno-tree-fre", "-fno-tree-sra",
)  # fmt: skip
GAP = 64
"""Bytes behind each array of shared memory that nothing may touch."""
RUNTIME, CHECKED_RUNTIME = ("blocks.cpp",), ("blocks.cpp", "checks.cpp")

_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(([^)]*)\)')
_ZEROS = re.compile(r"^_ZZ\S+:\n\t\.zero\t\d+\n", re.MULTILINE)  # variables of functions in assembly


class Compiler:
    """g++; raises DeviceError where there is none."""

    def __init__(self) -> None:
        found = shutil.which("g++")
        if found is None:
            raise DeviceError("device 'gpu' is emulated here (EDGE_GPU=emulated), which needs g++; install it")
        self._path = found
        self._shim = "".join(path.read_text(encoding="utf-8") for path in sorted(SHIM.iterdir()) if path.is_file())

    def load(self, source: Source, *, checked: bool) -> Library:
        """Compile a source, unless that was done before, and load it."""
        kernels = self._declared(source)
        launchers = "\n".join(_launcher(name, barriers=source.has_barriers) for name in kernels)
        text = f"{source.text}{launchers}\n"

        def code() -> bytes:
            return self._kept(f"library {checked}", text, lambda: self._library(text, source, checked=checked))

        with tempfile.TemporaryDirectory(prefix="edge-gpu-") as folder:
            path = Path(folder) / "kernels.so"
            path.write_bytes(code())
            return Library(source, ctypes.CDLL(str(path)), kernels, code)

    def _kept(self, what: str, text: str, make: Callable[[], bytes]) -> bytes:
        key = "|".join(("g++", platform.machine(), *OPTIONS, *CHECKED, *HOOKED, self._shim, what, text))
        return compiled(key, make)

    def _declared(self, source: Source) -> dict[str, tuple[Parameter, ...]]:
        """The kernels of a source and their parameters, all macros expanded."""
        plain = self._run(["-E", "-P", "-DEMULATED", "-x", "c++", "-"], source.name, Path.cwd(), source.text)
        return {
            name: tuple(_parameter(declared) for declared in parameters.split(",") if declared.strip())
            for name, parameters in _KERNEL.findall(plain)
        }

    def _library(self, text: str, source: Source, *, checked: bool) -> bytes:
        modes = CHECKED if checked else ()
        with tempfile.TemporaryDirectory(prefix="edge-gpu-") as name:
            folder = Path(name)
            (folder / f"{source.name}.cu").write_text(text, encoding="utf-8")
            options = [*OPTIONS, "-O1", *modes, *(HOOKED if checked else ()), f"-I{SHIM}", "-include", "cuda.h"]
            self._run([*options, "-x", "c++", "-S", f"{source.name}.cu", "-o", "kernels.s"], source.name, folder)
            assembly = folder / "kernels.s"
            assembly.write_text(
                _ZEROS.sub(rf"\g<0>\t.zero\t{GAP}\n", assembly.read_text(encoding="utf-8")), encoding="utf-8"
            )
            for runtime in CHECKED_RUNTIME if checked else RUNTIME:
                (folder / f"{runtime}.o").write_bytes(self._runtime(runtime, modes))
            objects = [f"{runtime}.o" for runtime in (CHECKED_RUNTIME if checked else RUNTIME)]
            linked = ["-shared", "-Wl,-Bsymbolic", "-Wl,--no-undefined", "kernels.s", *objects, "-o", "kernels.so"]
            self._run(linked, source.name, folder)
            return (folder / "kernels.so").read_bytes()

    def _runtime(self, name: str, modes: Sequence[str]) -> bytes:
        """The object code of one of emulation/'s own files, which no hooks watch."""

        def make() -> bytes:
            with tempfile.TemporaryDirectory(prefix="edge-gpu-") as folder:
                self._run([*OPTIONS, "-O2", *modes, "-c", str(SHIM / name), "-o", "runtime.o"], name, Path(folder))
                return (Path(folder) / "runtime.o").read_bytes()

        return self._kept(" ".join((name, *modes)), "", make)

    def _run(self, options: Sequence[str], what: str, folder: Path, text: str = "") -> str:
        command = [self._path, *options]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=folder, check=False)  # noqa: S603 - g++ on our own sources
        if done.returncode:
            raise RuntimeError(f"{what} does not compile as C++:\n{done.stderr[:4000]}")
        return done.stdout


def _parameter(declared: str) -> Parameter:
    words = re.sub(r"\b(const|__restrict__|struct)\b", " ", declared)
    pointer = "*" in words
    *type_of, name = words.replace("*", " ").split()
    return Parameter(" ".join(type_of) + ("*" if pointer else ""), name)


def _launcher(kernel: str, *, barriers: bool) -> str:
    sizes = "unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared"
    return (
        f"UNCHECKED static void call_{kernel}(void** values) {{ emulation::call({kernel}, values); }}\n"
        f'extern "C" UNCHECKED int launch_{kernel}({sizes}, bool reversed, void** values) {{\n'
        f"  return emulation::launch(dim3(gx, gy, gz), dim3(bx, by, bz), shared, {str(barriers).lower()}, reversed,\n"
        f"                           call_{kernel}, values);\n}}"
    )
