"""A lock between processes, on a file: the system frees it when its holder ends, however that comes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LONGEST_PAUSE = 0.5

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _free(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _free(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock `path`, alone among all processes and threads, once nobody else does.

    `on_wait` is called once when somebody does. The file is removed in the end; one that a killed process left behind
    is no lock.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    descriptor, pause = try_lock(path), 0.01
    if descriptor is None and on_wait is not None:
        on_wait()
    while descriptor is None:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        descriptor = try_lock(path)
    try:
        yield
    finally:
        unlock(path, descriptor)


def try_lock(path: Path) -> int | None:
    """Take the lock and return its file's descriptor, or None where somebody else holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _take(descriptor):
                os.close(descriptor)
                return None
            # Who held it before may have removed the file in between: then this is a lock on nothing.
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock; its file is neither made nor removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not _take(descriptor):
            return True
        _free(descriptor)
        return False
    finally:
        os.close(descriptor)


def unlock(path: Path, descriptor: int) -> None:
    """Remove the lock's file and free the lock; Windows keeps the file while others have it open."""
    with contextlib.suppress(OSError):
        path.unlink()
    _free(descriptor)
    os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
