"""NVRTC: CUDA C to machine code, with or without a GPU, and what it says of registers and spills."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge_sdk.errors import DeviceError
from edge_sdk.kernels.gpu.compiled_files import compiled
from edge_sdk.kernels.gpu.source import Source

OPTIONS = ("-std=c++17", "--ptxas-options=-v")
NEEDS_COMPILER = (
    "CUDA's compiler is missing: pip install 'edge-sdk[gpu-cuda12]' or 'edge-sdk[gpu-cuda13]', whichever fits CuPy"
)
USUAL_TOOLKIT = "/usr/local/cuda"
"""Where NVIDIA's installers put CUDA on Linux."""

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes spill stores")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class KernelUse:
    """What a kernel takes of a multiprocessor."""

    registers: int
    spilled_bytes: int
    shared_bytes: int
    """Of static shared memory."""


@dataclass(frozen=True)
class CompiledSource:
    """Machine code, the PTX that it was made of, and what each kernel in it uses."""

    code: bytes
    ptx: str
    uses: dict[str, KernelUse]


def compile_source(source: Source, architecture: str) -> CompiledSource:
    """Compile a source for an architecture such as "sm_90".

    Raises:
        DeviceError: NVRTC or CUDA's headers are missing.
        RuntimeError: the source does not compile, which is a defect; the message is the compiler's.
    """
    try:
        from cupy_backends.cuda.libs import nvrtc
    except ImportError as error:
        raise DeviceError(f"CUDA's compiler is missing ({error}); pip install 'edge-sdk[gpu-cuda13]'") from error
    options = (f"-arch={architecture}", *OPTIONS, *(f"-I{folder}" for folder in header_folders()))
    program = nvrtc.createProgram(source.text, f"{source.name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        ptx = nvrtc.getPTX(program).decode()
        return CompiledSource(nvrtc.getCUBIN(program), ptx, _uses(nvrtc.getProgramLog(program)))
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise RuntimeError(f"{source.name}.cu for {source.dtype} on {architecture}: {error}\n{log[:4000]}") from error
    finally:
        nvrtc.destroyProgram(program)


def machine_code(source: Source, architecture: str) -> bytes:
    """Return the machine code of a source: from disk, or else from the compiler and onto the disk; raises as that."""
    key = f"nvrtc|{compiler_version()}|{architecture}|{source.text}"
    return compiled(key, lambda: compile_source(source, architecture).code)


def check_compiler() -> None:
    """Raise DeviceError where NVRTC or CUDA's headers are missing: no kernel could be compiled."""
    try:
        compiler_version()
    except (ImportError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DeviceError(f"device 'gpu': {NEEDS_COMPILER} (NVRTC cannot be loaded: {reason})") from error
    if not any((Path(folder) / "cuda_fp16.h").is_file() for folder in header_folders()):
        raise DeviceError(
            f"device 'gpu': {NEEDS_COMPILER} (no package has its headers, nor CUDA_PATH or {USUAL_TOOLKIT})"
        )


@cache
def compiler_version() -> str:
    """Return NVRTC's version, such as "13.2"."""
    from cupy_backends.cuda.libs import nvrtc

    return ".".join(str(part) for part in nvrtc.getVersion())


@cache
def header_folders() -> tuple[str, ...]:
    """Return where CUDA's headers are: in NVIDIA's packages beside CuPy, or in an installed toolkit."""
    import os
    from importlib.util import find_spec

    packages = find_spec("nvidia")
    roots = [] if packages is None else [Path(root) for root in packages.submodule_search_locations or ()]
    found = [str(path) for root in roots for path in sorted(root.glob("cu*/include"))]
    found += [str(path) for root in roots for path in sorted(root.glob("cuda_runtime/include"))]
    toolkits = [os.environ.get("CUDA_PATH") or os.environ.get("CUDA_HOME") or "", USUAL_TOOLKIT]
    folders = [Path(toolkit) / "include" for toolkit in toolkits if toolkit]
    found += [str(folder) for folder in folders if folder.is_dir()]
    return tuple(dict.fromkeys(found))


def _uses(log: str) -> dict[str, KernelUse]:
    """What ptxas reports, kernel by kernel."""
    uses = {}
    for part in log.split("ptxas info")[1:]:
        if entry := _ENTRY.search(part):
            name, spilled = entry.group(1), 0
        elif (spills := _SPILLS.search(part)) and not _REGISTERS.search(part):
            spilled = int(spills.group(1))
        elif registers := _REGISTERS.search(part):
            if spills := _SPILLS.search(part):
                spilled = int(spills.group(1))
            shared = _SHARED.search(part)
            uses[name] = KernelUse(int(registers.group(1)), spilled, int(shared.group(1)) if shared else 0)
    return uses
