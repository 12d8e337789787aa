"""Machine code of CUDA sources on disk: one file a source, compiler and architecture; damaged ones are made anew."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.cache_folder import cache_folder

CHECKSUM = 32  # bytes of SHA-256 in front of the code


def compiled_folder() -> Path:
    """Return where the files are kept."""
    return cache_folder("kernels") / "gpu"


def compiled(key: str, compile_code: Callable[[], bytes]) -> bytes:
    """Return the machine code that `key` names in full: from disk, or else from the compiler and onto the disk.

    A disk that cannot be written costs time and nothing else.
    """
    path = compiled_folder() / hashlib.sha256(key.encode()).hexdigest()
    with contextlib.suppress(OSError):
        kept = path.read_bytes()
        if hashlib.sha256(kept[CHECKSUM:]).digest() == kept[:CHECKSUM]:
            return kept[CHECKSUM:]
    code = compile_code()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, hashlib.sha256(code).digest() + code)
    return code
