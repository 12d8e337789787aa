"""Numba's decorators as the kernels use them: compiled once for a machine, on the threads of the Session that calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from edge_sdk.kernel import Call
from edge_sdk.kernels.cpu import thread_pool

thread_pool.prepare()  # before Numba is imported
if os.environ.get("NUMBA_CPU_NAME", "host") != "host":  # else Numba would add this machine's instructions to those
    os.environ.setdefault("NUMBA_CPU_FEATURES", "")

import numba  # noqa: E402

from edge_sdk.kernels.cpu.code_cache import KernelCache  # noqa: E402

thread_pool.start()

prange = numba.prange
thread_id = numba.np.ufunc.parallel.get_thread_id


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that other kernels call."""
    return _cached(numba.njit(error_model="numpy", nogil=True)(function))


def inlined_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `jit`, for a function that becomes part of its caller, where constant arguments decide its branches."""
    return _cached(numba.njit(error_model="numpy", nogil=True, forceinline=True)(function))


def parallel_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function whose prange loops run on all threads."""
    return _cached(numba.njit(error_model="numpy", nogil=True, parallel=True)(function))


def prepared(function: Callable[..., Any], *arguments: Any) -> Call:
    """Return the call of a compiled function, its variant for these arguments chosen once and not at every call."""
    entry = function.compile(tuple(map(numba.typeof, arguments)))  # type: ignore[attr-defined]
    return Call(entry, arguments)


def _cached(dispatcher: Any) -> Callable[..., Any]:
    dispatcher._cache = KernelCache(dispatcher.py_func)  # noqa: SLF001 - what `cache=True` does, with another cache
    return cast(Callable[..., Any], dispatcher)


def threads() -> int:
    """How many threads a parallel kernel may use, here and now: a Session binds and runs with the same number."""
    return int(numba.get_num_threads())
