"""The memory that a device's kernels compute in, as a Session sees it: the host's own, or another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from edge_sdk.kernel import Call, device_module
from edge_sdk.memory_plan import aligned_bytes
from edge_sdk.spec import Array

ON_HOST = frozenset({"cpu", "reference"})
"""Devices whose kernels take the arrays of a Workspace as they are."""


class DeviceMemory(Protocol):
    """Allocates arrays of a device, moves them between it and the host, and runs what was bound."""

    def allocate(self, size: int) -> Array:
        """Return `size` bytes on the device, aligned for any kernel."""

    def write(self, target: Array, source: Array) -> None:
        """Copy an array of the host to one of the device, of the same shape and dtype."""

    def read(self, source: Array) -> Array:
        """Return a copy on the host, once all that was started has happened."""

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device."""

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return what makes all these calls, in order, as often as it is called."""

    def wait(self) -> None:
        """Return when all that was started has happened."""


class HostMemory:
    """The process's own memory: nothing moves."""

    def allocate(self, size: int) -> Array:
        """Return `size` bytes that start at a cache line."""
        return aligned_bytes(size)

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

    def wait(self) -> None:
        """Everything has happened when a call returns."""


def memory_of(device: str) -> DeviceMemory:
    """Return the memory of a device; raises DeviceError where the device is not here."""
    if device in ON_HOST:
        return HostMemory()
    memory: DeviceMemory = device_module(device, "memory").device_memory()
    return memory
