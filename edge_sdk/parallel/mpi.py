"""A communicator through MPI, for processes that mpiexec started, on one machine or on several."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.errors import UsageError
from edge_sdk.halves import rounded_to, widened
from edge_sdk.parallel.communicator import Operation
from edge_sdk.spec import Array, dtype_of


class MPICommunicator:
    """The processes of MPI's COMM_WORLD, by mpi4py (extra `mpi`).

    Numbers of 16 bits, which MPI does not know, are added in float32. MPI adds in an order of its own, the same in all
    processes.

    Raises:
        UsageError: mpi4py is not installed, or finds no MPI library.
    """

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise UsageError(
                f"communication through MPI needs mpi4py and an MPI library: pip install 'edge-sdk[mpi]' ({error})"
            ) from error
        self._mpi: Any = MPI
        self._world: Any = MPI.COMM_WORLD
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()

    def allreduce_(self, array: Array, operation: Operation = "sum") -> None:
        """Replace an array by the sum, or the mean, of that of all processes."""
        total = widened(array)
        total = total.copy() if total is array else total
        self._world.Allreduce(self._mpi.IN_PLACE, total, op=self._mpi.SUM)
        if operation == "mean":
            total = total / total.dtype.type(self.size)
        array[...] = rounded_to(total, dtype_of(array)) if total.dtype != array.dtype else total

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Replace an array by that of the process `root`."""
        self._world.Bcast(array.reshape(-1).view(np.uint8), root=root)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self._world.Barrier()
