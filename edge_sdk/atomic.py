"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it is synced to disk and takes the name `path`.

    When the body raises, the temporary file is removed and an older file at `path` is untouched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not mkstemp, whose files only their owner can read: the mask that others get can only be asked for by changing it,
    # for all threads.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    file = temporary.open("xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path` in one step."""
    with atomic_write(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable where folders can be opened (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse to sync a folder; the data itself is synced
    finally:
        os.close(descriptor)
