"""Communicator: what the processes of one training run say to each other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from edge_sdk.spec import Array

Operation = Literal["sum", "mean"]


class Communicator(Protocol):
    """Connects processes that all call the same methods, in the same order, with arrays of the same shape and dtype.

    Arrays are of the host, contiguous, and overwritten. The same numbers give the same bytes in every process.
    """

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def allreduce_(self, array: Array, operation: Operation = "sum") -> None:
        """Replace an array by the sum, or the mean, of that of all processes."""

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Replace an array by that of the process `root`."""

    def barrier(self) -> None:
        """Wait until all processes are here."""


class Alone:
    """The communicator of a process without others."""

    rank, size = 0, 1

    def allreduce_(self, array: Array, operation: Operation = "sum") -> None:
        """The sum, and the mean, of one is itself."""

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """There is nobody to hear it."""

    def barrier(self) -> None:
        """There is nobody to wait for."""


def share_of(length: int, rank: int, size: int) -> slice:
    """Return the part of `length` elements that is one process's: as many as the others', or one fewer."""
    return slice(length * rank // size, length * (rank + 1) // size)


_current: ContextVar[Communicator] = ContextVar("communicator")


def current_communicator() -> Communicator:
    """Return the communicator of this process: `Alone`, unless it was started as one of several."""
    return _current.get(Alone())


@contextmanager
def communicating(communicator: Communicator) -> Generator[None, None, None]:
    """Let training in this block be one of several processes'."""
    token = _current.set(communicator)
    try:
        yield
    finally:
        _current.reset(token)
