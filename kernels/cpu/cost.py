"""Estimates of a kernel's seconds, to choose between algorithms: only their ratios matter.

Algorithms round differently, and the same program is to give the same bytes with any number of threads: the estimates
are for two. The constants fit measurements of all candidates for the layers of the zoo on two cores of an AMD EPYC
(Zen 4) within some 20 %; `python -m benchmarks.algorithms` compares choices with measurements on other machines.
"""

from __future__ import annotations

from edge_sdk.kernels.cpu.simd import LANES

BYTES = 4  # of a float32
PEAK = LANES * 2 * 3.7e9  # operations a second of one thread: a fused multiply-add of LANES each cycle at 3.7 GHz
THREADS = 2
MEMORY = 30e9  # bytes a second that all threads get from memory
CACHE = 15e9  # bytes a second that one thread gathers or transforms


def seconds(operations: float, rate: float, from_memory: float, in_cache: float) -> float:
    """Return the time of arithmetic at a share `rate` of the peak plus that of bytes read and moved in caches."""
    return operations / (THREADS * PEAK * rate) + from_memory / MEMORY + in_cache / (THREADS * CACHE)
