"""What this machine can do at most, measured by kernels that do nothing else: multiply-adds and memory traffic."""

from __future__ import annotations

import time
from collections.abc import Callable

import numba
import numpy as np

from edge_sdk.kernels.cpu.gemm import TILE_COLUMNS, TILE_ROWS
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.simd import LANES, broadcast, fma, load, store
from edge_sdk.kernels.cpu.simd_tile import tile
from edge_sdk.spec import Array

STEPS = 400_000  # of the tile that one thread multiplies: some milliseconds
TRIAD_BYTES = 64 << 20  # of each of three arrays: more than last-level caches hold
ROUNDS = 5


@jit
def _multiply_in_registers(numbers: Array, first: int, steps: int) -> None:
    """Sums = factor · sums + number, for a whole tile of vectors, again and again; nothing is loaded in between."""
    sums = tile(TILE_ROWS, TILE_COLUMNS)
    for m in range(TILE_ROWS):
        for n in range(TILE_COLUMNS):
            sums[m, n] = load(numbers, first)
    factor, number = broadcast(numbers, first), load(numbers, first + LANES)
    for _ in range(steps):
        for m in range(TILE_ROWS):
            for n in range(TILE_COLUMNS):
                sums[m, n] = fma(factor, sums[m, n], number)
    total = sums[0, 0]
    for m in range(TILE_ROWS):
        for n in range(TILE_COLUMNS):
            total = total + sums[m, n]
    store(numbers, first, total)


@parallel_jit
def _multiply_on_all_threads(numbers: Array, steps: int, tasks: int) -> None:
    for task in prange(tasks):
        _multiply_in_registers(numbers, task * 2 * LANES, steps)


@parallel_jit
def _triad(a: Array, b: Array, c: Array, tasks: int) -> None:
    """A = b + 3 c (McCalpin's STREAM)."""
    vectors = len(a) // LANES
    for task in prange(tasks):
        for index in range(vectors * task // tasks, vectors * (task + 1) // tasks):
            place = index * LANES
            store(a, place, load(b, place) + 3 * load(c, place))


def _best_seconds(work: Callable[[], None]) -> float:
    work()  # compiles
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def measure() -> dict[str, float | int]:
    """Return operations a second (a multiply-add is two) of one and of all threads, and bytes a second of a triad.

    Keys: `threads`, `thread_flops`, `flops`, `bytes_per_second`. The triad counts two arrays read and one written.
    """
    workers = int(numba.get_num_threads())
    numbers = np.full(2 * LANES * workers, 0.5, np.float32)
    operations = 2 * STEPS * TILE_ROWS * TILE_COLUMNS * LANES
    one = _best_seconds(lambda: _multiply_in_registers(numbers, 0, STEPS))
    every = _best_seconds(lambda: _multiply_on_all_threads(numbers, STEPS, workers))
    a, b, c = (np.ones(TRIAD_BYTES // 4, np.float32) for _ in range(3))
    triad = _best_seconds(lambda: _triad(a, b, c, workers))
    return {
        "threads": workers,
        "thread_flops": operations / one,
        "flops": workers * operations / every,
        "bytes_per_second": 3 * TRIAD_BYTES / triad,
    }
