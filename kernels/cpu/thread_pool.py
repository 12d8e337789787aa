"""Numba's threads: how many there are, which library runs them, how many of them a Python thread uses."""

from __future__ import annotations

import os
import sys

from edge_sdk.errors import UsageError
from edge_sdk.threads import NUMBA_VARIABLE, available_processors, get_threads, register_pool, threads_of_variable

# OpenMP starts a parallel loop in 1 µs, Numba's own workqueue in 48; TBB is as quick, where it is installed.
PRIORITY = "omp tbb workqueue"


def prepare() -> None:
    """Tell Numba, which reads these variables when it is imported, what to start."""
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", PRIORITY)
    wanted = get_threads()
    started = threads_of_variable(NUMBA_VARIABLE) or available_processors()
    if "numba" not in sys.modules and wanted > started:
        os.environ[NUMBA_VARIABLE] = str(wanted)


class NumbaPool:
    """The one pool of the process; Numba starts it, and masks it for each Python thread."""

    def __init__(self) -> None:
        import numba
        from numba.np.ufunc import parallel

        self._numba, self._parallel = numba, parallel
        self._started_in: int | None = None

    @property
    def size(self) -> int:
        """How many threads were started."""
        return int(self._parallel.NUM_THREADS)

    @property
    def layer(self) -> str:
        """The library that runs them: omp, tbb or workqueue."""
        self._start()
        return str(self._numba.threading_layer())

    @property
    def shared(self) -> bool:
        """Whether several Python threads may start work at once: workqueue ends the process then."""
        return self.layer != "workqueue"

    def use(self, count: int) -> int:
        """Let the calling Python thread compute on `count` threads; return how many it was before."""
        self._start()
        # In a forked child GNU OpenMP's threads are gone, and Numba would end the process.
        if self._started_in != os.getpid() and sys.platform.startswith("linux") and self.layer == "omp":
            raise UsageError(
                f"process {os.getpid()} was forked from {self._started_in} after its kernels had run, which OpenMP's "
                "threads do not survive; start processes with multiprocessing's 'spawn', or set "
                "NUMBA_THREADING_LAYER=workqueue"
            )
        before = int(self._numba.get_num_threads())
        self._numba.set_num_threads(min(count, self.size))
        return before

    def _start(self) -> None:
        if self._started_in is None:
            self._numba.get_num_threads()
            self._started_in = os.getpid()


def start() -> NumbaPool:
    """Hand Numba's threads to the Sessions."""
    pool = NumbaPool()
    wanted = get_threads()
    if wanted > pool.size:
        raise UsageError(
            f"{wanted} threads were asked for, but Numba was imported before and has {pool.size}; set "
            f"{NUMBA_VARIABLE}={wanted}, or import edge_sdk's kernels first"
        )
    register_pool(pool)
    return pool
