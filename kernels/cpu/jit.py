"""Numba's decorators as the kernels use them, and where compiled code is kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import platformdirs

from edge_sdk import __version__


def _sources_digest() -> str:
    """Numba notices a changed file, but not what that file imports: any change here starts a new cache."""
    hashed = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hashed.update(path.name.encode() + path.read_bytes())
    return hashed.hexdigest()[:12]


def _cache_folder() -> Path:
    """The user's cache folder, or a temporary one when that cannot be written."""
    key = f"{__version__}-{_sources_digest()}-{platform.machine()}-{os.environ.get('NUMBA_CPU_NAME', 'host')}"
    key += f"-{os.environ.get('EDGE_SIMD_LANES', 'native')}"
    for base in (
        Path(platformdirs.user_cache_dir("edge-sdk", appauthor=False)),
        Path(tempfile.gettempdir()) / "edge-sdk",
    ):
        folder = base / "kernels" / key
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return Path(tempfile.mkdtemp(prefix="edge-sdk-kernels-"))


# Numba reads the variable when it is imported, which therefore comes after.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache_folder()))
if os.environ.get("NUMBA_CPU_NAME", "host") != "host":  # else Numba would add this machine's instructions to those
    os.environ.setdefault("NUMBA_CPU_FEATURES", "")

import numba  # noqa: E402

prange = numba.prange
thread_id = numba.np.ufunc.parallel.get_thread_id


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that other kernels call."""
    return cast(Callable[..., Any], numba.njit(cache=True, error_model="numpy", nogil=True)(function))


def parallel_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function whose prange loops run on all threads."""
    return cast(Callable[..., Any], numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)(function))


def threads() -> int:
    """How many threads a parallel kernel may use."""
    return int(numba.config.NUMBA_NUM_THREADS)
