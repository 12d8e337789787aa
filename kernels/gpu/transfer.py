"""Inputs to a device and outputs back while it computes: pinned memory, two of everything, a queue for copies.

    host      fill 0 | fill 1 | fill 0 …                 outputs of run 0 | of run 1 …
    copies           to device 0 | to device 1 | …
    computing                     run 0, outputs to host | run 1, …

Run k uses slot k mod 2. Nobody waits but for what is needed: the host for the copy out of the slot that it fills again;
the queue of copies for the run that has read the slot's block on the device; a run for its own copy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

import numpy as np

from edge_sdk.spec import Array

ALIGNMENT = 256
SLOTS = 2


class Queue(Enum):
    """What a device does in order; the two go on beside each other."""

    COPIES = "copies"
    COMPUTING = "computing"


class Event(Protocol):
    """A point in a queue."""

    def synchronize(self) -> None:
        """Let the host wait until the queue has come here."""


class Queues(Protocol):
    """What a transfer asks of a driver. What it queues happens later, in the order of the queue."""

    def pinned(self, size: int) -> Array:
        """Return `size` bytes of the host that the device reads and writes by itself."""

    def allocate(self, size: int) -> Array:
        """Return `size` bytes on the device."""

    def upload(self, target: Array, source: Array) -> None:
        """Copy pinned memory to the device, in the queue of copies."""

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device, in the queue that computes."""

    def download(self, target: Array, source: Array) -> None:
        """Copy to pinned memory, in the queue that computes."""

    def record(self, queue: Queue) -> Event:
        """Return the point that a queue has when all that it was given so far is done."""

    def let_wait(self, queue: Queue, event: Event) -> None:
        """Let a queue go on behind a point of the other one."""


class StagedTransfer:
    """Carries the inputs of runs to a device, and their outputs back, by `Queues`."""

    def __init__(self, queues: Queues, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        self._slots = tuple(_Slot(queues, inputs, outputs) for _ in range(SLOTS))
        self._runs = 0

    def send(self, arrays: Sequence[Array]) -> None:
        """Copy arrays of the host, of the inputs' shapes and dtypes; they may be changed when this returns."""
        self._slots[self._runs % SLOTS].send(arrays)

    def send_again(self) -> None:
        """Let another run have the inputs that were sent last, from where they lie on the device."""
        self._slots[self._runs % SLOTS].place()

    def receive(self) -> Callable[[], list[Array]]:
        """Once the run is launched, return what waits for its outputs and gives copies of them."""
        self._runs += 1
        return self._slots[(self._runs - 1) % SLOTS].receive()


def staging_sizes(inputs: Sequence[int]) -> list[int]:
    """Return the sizes of what a transfer allocates on the device for inputs of so many bytes."""
    return [_offsets(inputs)[-1]] * SLOTS


class _Slot:
    """A block of pinned memory and one of the device for the inputs, and pinned memory for the outputs."""

    def __init__(self, queues: Queues, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        self._queues, self._inputs, self._outputs = queues, tuple(inputs), tuple(outputs)
        size = _offsets([array.nbytes for array in inputs])[-1]
        self._host, self._device = queues.pinned(size), queues.allocate(size)
        self._filled, self._staged = _views(self._host, inputs), _views(self._device, inputs)
        self._results = _views(queues.pinned(_offsets([array.nbytes for array in outputs])[-1]), outputs)
        self._sent: Event | None = None
        self._read = queues.record(Queue.COMPUTING)  # runs that had the block's memory before, and are under way
        self._pending: _Outputs | None = None

    def send(self, arrays: Sequence[Array]) -> None:
        if self._sent is not None:
            self._sent.synchronize()
        for filled, array in zip(self._filled, arrays, strict=True):
            np.copyto(filled, array)
        self._queues.let_wait(Queue.COPIES, self._read)
        self._queues.upload(self._device, self._host)
        self._sent = self._queues.record(Queue.COPIES)
        self._queues.let_wait(Queue.COMPUTING, self._sent)
        self.place()

    def place(self) -> None:
        """Copy what was sent to where the runs look for it."""
        for target, staged in zip(self._inputs, self._staged, strict=True):
            self._queues.copy(target, staged)
        self._read = self._queues.record(Queue.COMPUTING)

    def receive(self) -> Callable[[], list[Array]]:
        if self._pending is not None:
            self._pending()  # whoever asks for those later finds them kept
        for target, output in zip(self._results, self._outputs, strict=True):
            self._queues.download(target, output)
        self._pending = _Outputs(self._queues.record(Queue.COMPUTING), self._results)
        return self._pending


class _Outputs:
    """The outputs of one run, copied out of the pinned memory before another run writes there."""

    def __init__(self, done: Event, results: Sequence[Array]) -> None:
        self._done, self._results = done, results
        self._kept: list[Array] | None = None
        self._lock = threading.Lock()

    def __call__(self) -> list[Array]:
        with self._lock:
            if self._kept is None:
                self._done.synchronize()
                self._kept = [result.copy() for result in self._results]
            return self._kept


def _offsets(sizes: Sequence[int]) -> list[int]:
    """Where arrays of so many bytes start in one block, and where the block ends."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    return starts


def _views(block: Array, like: Sequence[Array]) -> tuple[Array, ...]:
    """Arrays in a block, of the shapes and dtypes of others."""
    starts = _offsets([array.nbytes for array in like])
    return tuple(
        block[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        for start, array in zip(starts, like, strict=False)
    )
