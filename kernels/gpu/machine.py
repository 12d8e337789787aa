"""What times depend on, and how to make them honest: the device's identity, and caches as they are in a network."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from edge_sdk import __version__
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.libraries import report
from edge_sdk.spec import Array

SWEEP_BYTES = 64 << 20  # more than the cache of a large GPU

_SWEEP: list[Array] = []


def identity() -> dict[str, str | int]:
    """Return what the times of kernels depend on: these sources, the device, the libraries."""
    device = re.sub(r"[^0-9A-Za-z]+", "-", current_driver().description).strip("-")
    return {"edge_sdk": __version__, "sources": _sources_digest(), "processor": device, **report()}


@cache
def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".cu", ".cuh", ".h"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def read(array: Array) -> None:
    """Read an array, as far as it fits the caches."""
    _copy_into_sweep(array.reshape(-1).view("u1")[:SWEEP_BYTES])


def disturb_caches() -> None:
    """Read and write something else, as other layers do."""
    _copy_into_sweep(_sweep()[1])


def _sweep() -> list[Array]:
    if not _SWEEP:
        _SWEEP.extend(current_driver().allocate(SWEEP_BYTES) for _ in range(2))
    return _SWEEP


def _copy_into_sweep(source: Array) -> None:
    driver = current_driver()
    driver.copy(_sweep()[0][: source.size], source)
    driver.wait()
