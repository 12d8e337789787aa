"""What runs CUDA kernels: a GPU through CuPy, or a processor that emulates one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

from edge_sdk.errors import UsageError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.exchange import Exchange
from edge_sdk.kernels.gpu.source import Source
from edge_sdk.kernels.gpu.transfer import StagedTransfer
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.spec import Array

VARIABLE = "EDGE_GPU"
"""The environment variable that says what device "gpu" is: "cuda", where it is not set, or "emulated"."""

Size = tuple[int, int, int]


class Function(Protocol):
    """A compiled kernel."""

    def check(self, values: Sequence[Any]) -> None:
        """Raise TypeError where arguments are not of the declared types, as far as the driver knows them."""

    def __call__(self, grid: Size, block: Size, shared: int, arguments: int) -> None:
        """Launch it on the stream of the driver; `arguments` is the address of an array of pointers to its values."""


class Driver(Protocol):
    """Compiles, launches, and owns the memory that kernels compute in."""

    @property
    def stream(self) -> int | None:
        """The CUDA stream that all runs on, for NVIDIA's libraries; None where there is no such thing."""

    @property
    def architecture(self) -> str:
        """The name of the instruction set, such as "sm_90"."""

    @property
    def description(self) -> str:
        """What it is, for people."""

    @property
    def runs_ahead(self) -> int:
        """How many runs can be launched before the outputs of the first are asked for."""

    def function(self, source: Source, kernel: str) -> Function:
        """Return a kernel of a source, compiled and loaded once."""

    @property
    def reserve(self) -> int:
        """What training leaves free: for kernels' code and tables, captured graphs, and what is rounded up."""

    def allocate(self, size: int) -> Array:
        """Return `size` bytes on the device, aligned to 256."""

    def taken(self, size: int) -> int:
        """Return how many bytes `allocate` takes for so many."""

    def free_bytes(self) -> int | None:
        """Return how much can be allocated; None where nobody knows."""

    def staging_bytes(self, inputs: Sequence[int]) -> int:
        """Return what a transfer takes for inputs of so many bytes."""

    def address(self, array: Array) -> int:
        """Return where an array of the device starts; raises TypeError for any other array."""

    def write(self, target: Array, source: Array) -> None:
        """Copy an array of the host, of the same shape and dtype, to the device."""

    def read(self, source: Array) -> Array:
        """Wait for all that was launched, and return a copy on the host."""

    def copy(self, target: Array, source: Array) -> None:
        """Copy on the device, in the order of launches."""

    def program(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return what makes all these calls, in order, as often as it is called."""

    def transfer(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> StagedTransfer:
        """Return what fills these inputs and brings these outputs back while runs go on."""

    def wait(self) -> None:
        """Wait for all that was launched."""

    def timed(self, works: Sequence[Callable[[], None]]) -> list[float]:
        """Start works one after the other; return the seconds that the device spent on each."""

    def exchange(self, communicator: Communicator) -> Exchange:
        """Return what averages arrays of the devices of all processes that a communicator connects."""


@cache
def current_driver() -> Driver:
    """Return what device "gpu" is in this process.

    Raises:
        DeviceError: no GPU can be used here; the message says what is missing.
        UsageError: EDGE_GPU says something unknown.
    """
    chosen = os.environ.get(VARIABLE) or "cuda"
    if chosen == "emulated":
        from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver

        return EmulatedDriver()
    if chosen != "cuda":
        raise UsageError(f"{VARIABLE} is 'cuda' or 'emulated', not {chosen!r}")
    from edge_sdk.kernels.gpu.cuda_driver import CudaDriver

    return CudaDriver()
