"""A communicator for the processes of one machine: arrays pass through memory that all of them see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier

import numpy as np

from edge_sdk.errors import EdgeError
from edge_sdk.halves import rounded_to, widened
from edge_sdk.parallel.communicator import Operation, share_of
from edge_sdk.spec import Array, dtype_of

SLOT = 4 << 20
"""Bytes that a process passes on at a time."""


class ProcessLostError(EdgeError):
    """Another process of the run has ended, and there is nobody to go on with."""


def shared_bytes(size: int) -> int:
    """Return how much memory `size` processes share: a slot each, and one for the result."""
    return (size + 1) * SLOT


@dataclass(frozen=True)
class SharedMemoryCommunicator:
    """One of `size` processes that share a block of `shared_bytes(size)` and a barrier.

    Every process adds up an equal part of each slot, in the order of ranks: the result is the same in all of them, and
    from run to run. Numbers of 16 bits are added in float32 and rounded once.

    All methods raise ProcessLostError when another process has gone.
    """

    rank: int
    size: int
    memory: SharedMemory
    meeting: Barrier
    _slots: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        slots = np.ndarray((self.size + 1, SLOT), np.uint8, self.memory.buf)
        object.__setattr__(self, "_slots", slots)

    @classmethod
    def attach(cls, rank: int, size: int, name: str, meeting: Barrier) -> SharedMemoryCommunicator:
        """Join by the name of the shared block, which whoever made it removes."""
        return cls(rank, size, SharedMemory(name), meeting)

    def close(self) -> None:
        """Leave the shared block."""
        object.__setattr__(self, "_slots", None)
        self.memory.close()

    def allreduce_(self, array: Array, operation: Operation = "sum") -> None:
        """Replace an array by the sum, or the mean, of that of all processes."""
        for part in self._parts(array):
            mine = self._as(part, self.rank)
            mine[...] = part
            self.barrier()
            share = share_of(len(part), self.rank, self.size)
            total = widened(self._as(part, 0)[share])
            for rank in range(1, self.size):
                total = total + widened(self._as(part, rank)[share])
            if operation == "mean":
                total = total / total.dtype.type(self.size)
            self._as(part, self.size)[share] = rounded_to(total, dtype_of(part)) if total.dtype != part.dtype else total
            self.barrier()
            part[...] = self._as(part, self.size)

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Replace an array by that of the process `root`."""
        for part in self._parts(array):
            if self.rank == root:
                self._as(part, root)[...] = part
            self.barrier()
            part[...] = self._as(part, root)
            self.barrier()

    def barrier(self) -> None:
        """Wait until all processes are here."""
        try:
            self.meeting.wait()
        except threading.BrokenBarrierError as error:
            raise ProcessLostError("another process of this run has ended; what it said is above") from error

    def _as(self, part: Array, slot: int) -> Array:
        return self._slots[slot, : part.nbytes].view(part.dtype)

    @staticmethod
    def _parts(array: Array) -> Iterator[Array]:
        """Views of an array that fit a slot."""
        if not array.flags.c_contiguous:
            raise ValueError("a communicator takes contiguous arrays")
        flat = array.reshape(-1)
        most = SLOT // array.itemsize
        for start in range(0, flat.size, most):
            yield flat[start : start + most]
