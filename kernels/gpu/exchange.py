"""How the processes of a run average arrays of their devices: one GPU each through NCCL, or the emulated device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edge_sdk.errors import DeviceError
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.spec import Array, dtype_of

UNIQUE_ID_BYTES = 128


class Exchange(Protocol):
    """Means over processes that go on while the device computes."""

    def start(self, arrays: Sequence[Array]) -> None:
        """Begin to replace arrays of the device by their means, once all that was launched before has happened."""

    def finish(self, arrays: Sequence[Array]) -> None:
        """Let what is launched from now on wait for the means that were begun with."""


class HostExchange:
    """Means of arrays that the host can read, at once."""

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator

    def start(self, arrays: Sequence[Array]) -> None:
        """Replace arrays by their means."""
        if self._communicator.size > 1:
            for array in arrays:
                self._communicator.allreduce_(np.asarray(array), "mean")

    def finish(self, arrays: Sequence[Array]) -> None:
        """They are there."""


class NcclExchange:
    """Means through NCCL, on a stream beside the one that computes; both become one CUDA graph when captured.

    The processes find each other by an identifier that goes from the first one to all through `communicator`.
    """

    def __init__(self, communicator: Communicator, computing: Any) -> None:
        import cupy

        nccl = _nccl()
        identifier = np.zeros(UNIQUE_ID_BYTES, np.uint8)
        if communicator.rank == 0:
            identifier[:] = np.frombuffer(nccl.get_unique_id(), np.uint8)
        communicator.broadcast_(identifier)
        self._nccl = nccl
        self._group = nccl.NcclCommunicator(communicator.size, identifier.tobytes(), communicator.rank)
        self._computing, self._travelling = computing, cupy.cuda.Stream(non_blocking=True)
        self._ready, self._there = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self._types = nccl_types(nccl)

    def start(self, arrays: Sequence[Array]) -> None:
        """Begin to replace arrays by their means, as one message."""
        self._ready.record(self._computing)
        self._travelling.wait_event(self._ready)
        self._nccl.groupStart()
        for array in arrays:
            address, kind = array.data.ptr, self._types[dtype_of(array)]  # type: ignore[attr-defined]
            self._group.allReduce(address, address, array.size, kind, self._nccl.NCCL_AVG, self._travelling.ptr)
        self._nccl.groupEnd()

    def finish(self, arrays: Sequence[Array]) -> None:
        """Let the stream that computes wait."""
        self._there.record(self._travelling)
        self._computing.wait_event(self._there)


def nccl_types(nccl: Any) -> dict[str, int]:
    """Return NCCL's number of each type of gradients."""
    return {
        "float16": nccl.NCCL_FLOAT16, "bfloat16": nccl.NCCL_BFLOAT16, "float32": nccl.NCCL_FLOAT32,
        "float64": nccl.NCCL_FLOAT64,
    }  # fmt: skip


def _nccl() -> Any:
    try:
        from cupy.cuda import nccl
    except ImportError as error:
        nccl, reason = None, f" ({error})"
    else:
        reason = ""
    if nccl is None or not getattr(nccl, "available", True):
        raise DeviceError(
            "several GPUs need NCCL: pip install 'edge-sdk[nccl-cuda12]' or 'edge-sdk[nccl-cuda13]', whichever fits "
            f"CuPy{reason}"
        )
    return nccl
