"""How many threads compute, and which Sessions may run at the same time.

Photos are decoded by threads of their own (`edge_sdk.data.loader`), which do not count here.
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from edge_sdk.errors import UsageError

VARIABLE = "EDGE_NUM_THREADS"
NUMBA_VARIABLE = "NUMBA_NUM_THREADS"
MOST_THREADS = 1024
"""More than the processors of any machine that this is for; some ten thousand threads end in a crash of OpenMP's."""


class Pool(Protocol):
    """The threads of a device's kernels. They are started once; later a part of them can be used."""

    @property
    def size(self) -> int:
        """How many were started."""

    @property
    def layer(self) -> str:
        """The name of what starts and feeds them."""

    @property
    def shared(self) -> bool:
        """Whether several Python threads may start work at once."""

    def use(self, count: int) -> int:
        """Let the calling Python thread compute on `count` of them; return how many it was before."""


_pool: Pool | None = None
_chosen: int | None = None
_preferred: ContextVar[int | None] = ContextVar("preferred_threads", default=None)


def available_processors() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(count: int) -> None:
    """Set how many threads compute in every Session bound from now on that does not say so itself.

    No result depends on the number. The kernels' threads are started when the first Session is bound, as many as there
    are processors or as are wanted by then; later only fewer can be had.

    Raises:
        UsageError: not a whole number from 1 to 1024, or more than were started.
    """
    global _chosen  # noqa: PLW0603 - it is the process's own setting
    _chosen = checked_threads(count, "set_threads")


def get_threads() -> int:
    """Return how many threads compute in a Session that does not say so itself.

    That is what `set_threads` said, or else the variable EDGE_NUM_THREADS, or NUMBA_NUM_THREADS, or one thread for
    each processor that the process may run on.

    Raises:
        UsageError: a variable is no whole number from 1 to 1024.
    """
    for chosen in (_preferred.get(), _chosen):
        if chosen is not None:
            return chosen
    wanted = threads_of_variable(VARIABLE) or threads_of_variable(NUMBA_VARIABLE) or available_processors()
    return wanted if _pool is None else min(wanted, _pool.size)


def threads_of_variable(variable: str) -> int | None:
    """Return the number in an environment variable, None where it is empty or not set.

    Raises:
        UsageError: it is no whole number from 1 to 1024.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 9 and 1 <= int(value) <= MOST_THREADS):
        raise UsageError(f"{variable} must be a whole number from 1 to {MOST_THREADS}; found {value[:40]!r}")
    return int(value)


@contextmanager
def preferring(count: int | None, name: str) -> Generator[None, None, None]:
    """Let `get_threads` say `count` inside, in this context alone; None changes nothing."""
    token = _preferred.set(_preferred.get() if count is None else checked_threads(count, name))
    try:
        yield
    finally:
        _preferred.reset(token)


def checked_threads(count: int | None, name: str) -> int:
    """Return a wanted number of threads, or the process's where it is None.

    Raises:
        UsageError: not a whole number from 1 to 1024, or more than were started.
    """
    if count is None:
        return get_threads()
    if type(count) is not int or not 1 <= count <= MOST_THREADS:
        raise UsageError(
            f"{name}: the number of threads must be a whole number from 1 to {MOST_THREADS}; found {count!r}"
        )
    if _pool is not None and count > _pool.size:
        raise UsageError(
            f"{name}: {count} threads were asked for, but {_pool.size} were started with the first Session; set "
            f"{VARIABLE}={count}, or call edge_sdk.set_threads({count}) before"
        )
    return count


def threading_layer() -> str | None:
    """Return what runs the kernels' threads (omp, tbb, workqueue), or None before the CPU's kernels are loaded."""
    return None if _pool is None else _pool.layer


def register_pool(pool: Pool) -> None:
    """Take over the threads that a device's kernels have started."""
    global _pool  # noqa: PLW0603 - there is one set of processors
    _pool = pool


@contextmanager
def computing(count: int) -> Generator[None, None, None]:
    """Let the kernels that the calling Python thread binds or calls inside count on `count` threads.

    Raises:
        UsageError: the process was forked after the threads were started, which OpenMP does not survive.
    """
    if _pool is None:
        yield
        return
    before = _pool.use(count)
    try:
        yield
    finally:
        _pool.use(before)


class _Turns:
    """Lets runs go on at the same time whose threads fit the processors together; first come, first served."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: collections.deque[object] = collections.deque()
        self._running = 0  # threads of all runs
        self._alone = False
        self._mine = threading.local()

    @contextmanager
    def taken(self, count: int, *, alone: bool) -> Generator[None, None, None]:
        """Wait until `count` threads are free (nothing runs at all, if `alone`), and keep them busy inside."""
        if getattr(self._mine, "taken", False):  # a kernel that runs another Session
            yield
            return
        alone = alone or (_pool is not None and not _pool.shared)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._fits(count, alone):
                    self._changed.wait()
                self._running += count
                self._alone = alone
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        self._mine.taken = True
        try:
            yield
        finally:
            self._mine.taken = False
            with self._changed:
                self._running -= count
                self._alone = False
                self._changed.notify_all()

    def _fits(self, count: int, alone: bool) -> bool:
        if self._running == 0:
            return True
        return not alone and not self._alone and self._running + count <= available_processors()


_turns = _Turns()


@contextmanager
def turn(count: int, *, alone: bool) -> Generator[None, None, None]:
    """Compute on `count` threads when it is this run's turn. A run that is `alone`, since it writes weights that
    others may read, shares the time with no other.
    """
    with _turns.taken(count, alone=alone), computing(count):
        yield


def _after_fork() -> None:
    global _turns  # noqa: PLW0603 - runs of the parent go on there, not here
    _turns = _Turns()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
