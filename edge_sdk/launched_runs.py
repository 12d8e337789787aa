"""Runs of a device that are launched one after the other and read in their order, while it goes on with the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Outputs = TypeVar("Outputs")
Of = TypeVar("Of")


class LaunchedRuns(Generic[Outputs, Of]):
    """What was launched and is still to be read, with whatever each run is of: a batch, labels, a place.

    Outputs are asked for when `ahead` more runs were launched: the `runs_ahead` of a Session, so that a GPU always has
    the next run to go on with. On the CPU, where that is 0, a run is read before the next one is launched.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._launched: deque[tuple[Callable[[], Outputs], Of]] = deque()

    def __len__(self) -> int:
        return len(self._launched)

    def add(self, outputs: Callable[[], Outputs], of: Of) -> list[tuple[Outputs, Of]]:
        """Take a run that was just launched (`Session.start`); return those, first come first, that may be read now."""
        self._launched.append((outputs, of))
        return self._read(self._ahead)

    def finish(self) -> list[tuple[Outputs, Of]]:
        """Wait for all runs, and return those that are still to be read."""
        return self._read(0)

    def _read(self, left: int) -> list[tuple[Outputs, Of]]:
        read = []
        while len(self._launched) > left:
            outputs, of = self._launched.popleft()
            read.append((outputs(), of))
        return read
