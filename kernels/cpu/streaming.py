"""When results go to memory past the caches."""

from __future__ import annotations

from edge_sdk.kernels.cpu.simd import LANES
from edge_sdk.spec import Array

STREAM_BYTES = 16 << 20
"""Of a result that will have left the last-level cache before anybody reads it."""
VECTOR_BYTES = 4 * LANES


def is_streamed(out: Array) -> bool:
    """Whether `out` (…, channels) is large, and every vector of channels is aligned as `stream` needs.

    A store through the caches reads a line from memory before it changes it; `stream` does not.
    """
    return out.nbytes >= STREAM_BYTES and out.shape[-1] % LANES == 0 and out.ctypes.data % VECTOR_BYTES == 0
