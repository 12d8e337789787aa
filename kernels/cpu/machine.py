"""What times depend on, and how to make them honest: the machine's identity, and caches as they are in a network."""

from __future__ import annotations

import llvmlite.binding as llvm
import numba
import numpy as np

from edge_sdk import __version__
from edge_sdk.kernels.cpu.code_cache import sources_digest
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, load, store, zero
from edge_sdk.spec import Array

SWEEP_BYTES = 24 << 20  # what the other layers of a network read and write between two runs of one, in part from caches

_SWEEP: list[Array] = []


def identity() -> dict[str, str | int]:
    """Return what the times of kernels depend on: these sources, the processor, the threads."""
    return {
        "edge_sdk": __version__,
        "sources": sources_digest(),
        "processor": f"{llvm.get_host_cpu_name()}-{LANES}",
        "threads": int(numba.get_num_threads()),
    }


@parallel_jit
def _read(numbers: Array, sums: Array) -> None:
    parts = len(sums) // LANES
    vectors = len(numbers) // LANES
    for part in prange(parts):
        total = zero()
        for index in range(vectors * part // parts, vectors * (part + 1) // parts):
            total = total + load(numbers, index * LANES)
        store(sums, part * LANES, total)


def read(array: Array) -> None:
    """Read an array of float32 on all threads, which leaves it in the caches that it fits."""
    _read(array.reshape(-1), np.zeros(4 * LANES * numba.get_num_threads(), np.float32))


def disturb_caches() -> None:
    """Read something else on all threads, as other layers do, which leaves the threads awake."""
    if not _SWEEP:
        _SWEEP.append(np.ones(SWEEP_BYTES // 4, np.float32))
    read(_SWEEP[0])
