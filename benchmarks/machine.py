"""What figures depend on: processor, memory, versions, threading layer, date."""

from __future__ import annotations

import datetime as dt
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Instructions that decide which kernels run, and how wide their vectors are.
FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "asimddp", "bf16", "i8mm")
PACKAGES = ("edge-sdk", "numpy", "numba", "llvmlite")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "flags": _flags(),
        "memory_gib": _memory(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "threading_layer": _threading_layer(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def _fields(path: str) -> dict[str, str]:
    """The `name: value` lines of a file in /proc, the last of each name."""
    file = Path(path)
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _processor() -> str:
    found = _fields("/proc/cpuinfo")
    model = found.get("model name", platform.processor() or platform.machine())
    known = [f"{name} {found[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in found]
    return ", ".join([model, *known])


def _flags() -> list[str]:
    found = _fields("/proc/cpuinfo")
    present = set((found.get("flags") or found.get("Features") or "").split())
    return [flag for flag in FLAGS if flag in present]


def _memory() -> float | None:
    kibibytes = _fields("/proc/meminfo").get("MemTotal", "").split()
    return round(int(kibibytes[0]) / 2**20, 1) if kibibytes else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _threading_layer() -> str | None:
    """Which of Numba's threading layers the kernels run on; it is known once one has run."""
    import numba
    import numpy as np

    import edge_sdk.kernels.cpu.jit  # noqa: F401 - sets what Numba is configured with
    from edge_sdk.kernels.cpu.machine import read

    read(np.ones(1, np.float32))
    try:
        return str(numba.threading_layer())
    except ValueError:
        return None
