"""The memory that a device's kernels compute in, as a Session sees it: the host's own, or another's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_sdk.host_memory import available_bytes
from edge_sdk.kernel import Call, device_module
from edge_sdk.memory_plan import aligned_bytes
from edge_sdk.spec import Array

ON_HOST = frozenset({"cpu", "reference"})
"""Devices whose kernels take the arrays of a Workspace as they are."""


class Transfer(Protocol):
    """Carries the inputs of a Session's runs to the device, and their outputs back."""

    def send(self, arrays: Sequence[Array]) -> None:
        """Copy arrays of the host, of the inputs' shapes and dtypes; they may be changed when this returns."""

    def send_again(self) -> None:
        """Let another run have the inputs that were sent last, before any outputs are asked for."""

    def receive(self) -> Callable[[], list[Array]]:
        """Once a run is launched, return what waits for its outputs and gives copies of them."""


class DeviceMemory(Protocol):
    """Allocates arrays of a device, moves them between it and the host, and runs what was bound."""

    @property
    def description(self) -> str:
        """What the device is, for people."""

    @property
    def runs_ahead(self) -> int:
        """How many runs can be launched before the outputs of the first are asked for, so that it never stands idle."""

    @property
    def reserve(self) -> int:
        """What training leaves free: for what the device needs beside the arrays that are planned."""

    def allocate(self, size: int) -> Array:
        """Return `size` bytes on the device, aligned for any kernel."""

    def taken(self, size: int) -> int:
        """Return how many bytes `allocate` takes for so many."""

    def free_bytes(self) -> int | None:
        """Return how much can be allocated; None where nobody knows."""

    def staging_bytes(self, inputs: Sequence[int]) -> int:
        """Return what a transfer takes for inputs of so many bytes."""

    def write(self, target: Array, source: Array) -> None:
        """Copy an array of the host to one of the device, of the same shape and dtype."""

    def read(self, source: Array) -> Array:
        """Return a copy on the host, once all that was started has happened."""

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device."""

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return what makes all these calls, in order, as often as it is called."""

    def transfer(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Transfer:
        """Return what fills these inputs on the device and brings these outputs back, run by run."""

    def wait(self) -> None:
        """Return when all that was started has happened."""

    def timed(self, works: Sequence[Callable[[], None]]) -> list[float]:
        """Start works one after the other; return the seconds that the device spent on each."""


class HostMemory:
    """The process's own memory: nothing moves."""

    description = "the processor"
    runs_ahead = 0
    reserve = 0

    def allocate(self, size: int) -> Array:
        """Return `size` bytes that start at a cache line."""
        return aligned_bytes(size)

    def taken(self, size: int) -> int:
        """As many; what aligns them is next to nothing."""
        return size

    def free_bytes(self) -> int | None:
        """What the system says is available."""
        return available_bytes()

    def staging_bytes(self, inputs: Sequence[int]) -> int:
        """Inputs are copied straight to their places."""
        return 0

    def write(self, target: Array, source: Array) -> None:
        """Copy."""
        np.copyto(target, source)

    def read(self, source: Array) -> Array:
        """Return a copy."""
        return source.copy()

    def copy(self, target: Array, source: Array) -> None:
        """Copy."""
        np.copyto(target, source)

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return a loop over the calls."""

        def run() -> None:
            for call in calls:
                call.function(*call.arguments)

        return run

    def transfer(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Transfer:
        """Return what copies at once."""
        return _HostTransfer(tuple(inputs), tuple(outputs))

    def wait(self) -> None:
        """Everything has happened when a call returns."""

    def timed(self, works: Sequence[Callable[[], None]]) -> list[float]:
        """Do the works."""
        return [seconds_of(work) for work in works]


def seconds_of(work: Callable[[], None]) -> float:
    """Return the seconds of what is over when it returns."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass
class _HostTransfer:
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    sent: Sequence[Array] = ()

    def send(self, arrays: Sequence[Array]) -> None:
        self.sent = arrays
        self.send_again()

    def send_again(self) -> None:
        for target, array in zip(self.inputs, self.sent, strict=True):
            np.copyto(target, array)

    def receive(self) -> Callable[[], list[Array]]:
        copies = [output.copy() for output in self.outputs]
        return lambda: copies


def memory_of(device: str) -> DeviceMemory:
    """Return the memory of a device; raises DeviceError where the device is not here."""
    if device in ON_HOST:
        return HostMemory()
    memory: DeviceMemory = device_module(device, "memory").device_memory()
    return memory
