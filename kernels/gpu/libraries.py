"""NVIDIA's libraries, called through ctypes: where they lie, and what is told of them."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_sdk.errors import DeviceError, EdgeError
from edge_sdk.kernel import switched_on
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.spec import Array, Spec

OWN_KERNELS = "EDGE_OWN_KERNELS"
"""The environment variable that, when it is 1, leaves libraries aside: all is computed by the package's own kernels."""
ALIGNMENT = 16
"""Bytes to which every array that a library gets is aligned; a memory plan aligns to more."""

WORKSPACE_ALIGNMENT = 256
"""Bytes to which a workspace is aligned, as memory is that CUDA allocates."""


@dataclass(frozen=True)
class Entry:
    """A function of a C library, as its header declares it."""

    name: str
    returns: Any
    takes: tuple[Any, ...]


def stream_for_libraries() -> int:
    """Return the stream that libraries work on.

    Raises:
        DeviceError: there is no GPU, or somebody wants the package's own kernels alone.
    """
    if switched_on(OWN_KERNELS):
        raise DeviceError(f"{OWN_KERNELS} is 1")
    try:
        stream = current_driver().stream
    except EdgeError as error:
        raise DeviceError("there is no GPU to use it on") from error
    if stream is None:
        raise DeviceError("an emulated GPU has no libraries")
    return stream


def load_library(names: Sequence[str], entries: Sequence[Entry], hint: str) -> ctypes.CDLL:
    """Return the first library that loads, its functions declared.

    Raises:
        DeviceError: there is none, or it has no such function; `hint` says what to install.
    """
    problems = []
    for name in names:
        for place in _places(name):
            try:
                library = ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                problems.append(str(error))
                continue
            _declare(library, entries, place, hint)
            return library
    raise DeviceError(f"{names[0]} cannot be loaded ({problems[0]}); {hint}")


def load_if_found(names: Sequence[str]) -> None:
    """Load the first library there is, for others that look for it by name when they need it."""
    with contextlib.suppress(DeviceError):
        load_library(names, (), "")


def _declare(library: ctypes.CDLL, entries: Sequence[Entry], place: str, hint: str) -> None:
    for entry in entries:
        try:
            function = getattr(library, entry.name)
        except AttributeError as error:
            raise DeviceError(f"{place} has no function {entry.name}; {hint}") from error
        function.restype, function.argtypes = entry.returns, entry.takes


def _places(name: str) -> Iterator[str]:
    """Paths in NVIDIA's packages, then the bare name, which the system's loader looks up."""
    try:
        import nvidia
    except ImportError:
        roots: list[str] = []
    else:
        roots = list(nvidia.__path__)
    for root in roots:
        for pattern in (f"*/lib/{name}", f"*/bin/{name}", f"*/bin/x86_64/{name}"):
            yield from map(str, sorted(Path(root).glob(pattern)))
    yield name


def checked_address(what: str, address: int) -> int:
    """Return an address that a library may be given; raises DeviceError for one that is not aligned."""
    if address % ALIGNMENT:
        raise DeviceError(f"{what}: an array at {address:#x} does not start at a multiple of {ALIGNMENT} bytes")
    return address


def workspace_specs(size: int) -> tuple[Spec, ...]:
    """Return the scratch for a workspace of so many bytes, with room to align it."""
    return (Spec((size + WORKSPACE_ALIGNMENT,), "uint8"),) if size else ()


def workspace_address(scratch: Sequence[Array]) -> int:
    """Return where a workspace starts in its scratch, 0 where there is none."""
    return -(-current_driver().address(scratch[0]) // WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT if scratch else 0


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return str(error).partition("\n")[0]


def report() -> dict[str, str]:
    """Return one line about each library: its version, or why it is not used."""
    from edge_sdk.kernels.gpu import cublas, cudnn

    return {"cuDNN": cudnn.report(), "cuBLAS": cublas.report()}


def report_with_searches() -> dict[str, str]:
    """Return the same, and for how many of the convolutions seen on this device cuDNN has no engine that may run."""
    from edge_sdk.kernels.gpu import cudnn
    from edge_sdk.kernels.gpu.cudnn_engines import engines_of

    lines, library = report(), cudnn.current_cudnn()
    if library is not None:
        none, seen = engines_of(library).kept.without_engine()
        if none:
            lines["cuDNN"] += f"; {none} of {seen} convolutions seen here run on the package's own kernels"
    return lines
