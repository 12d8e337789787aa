"""Launches of the loops over elements: UNARY and BINARY of elementwise.cuh, BROADCAST of broadcast.cuh."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.launch import MAX_BLOCKS, THREADS, for_each, launch, nothing, number
from edge_sdk.kernels.gpu.moves import WIDE
from edge_sdk.kernels.gpu.strides import broadcast_strides, strides
from edge_sdk.spec import Array

MOST_AT_ONCE = 8
"""Numbers of one byte that a thread takes at once."""


def map_elements(name: str, kernel: str, out: Array, *arrays: Array, p: float = 0, q: float = 0) -> Call:
    """Return the launch of a UNARY or BINARY kernel in `name`.cu on arrays of one shape, with its numbers p and q."""
    dtype = out.dtype.name
    return _by_packs(name, kernel, out.size, out, *arrays, number(p, dtype), number(q, dtype), dtype=dtype)


def map_broadcast(name: str, kernel: str, out: Array, a: Array, b: Array, p: int = 0) -> Call:
    """Return the launch of a BROADCAST kernel in `name`.cu, with its number p."""
    dtype, parameter = a.dtype.name, np.int32(p)
    if a.shape == b.shape:
        return _by_packs(name, kernel, out.size, out, a, b, parameter, dtype=dtype)
    walked = strides(out.shape, *(broadcast_strides(x.shape, out.shape) for x in (a, b)))
    return for_each(name, f"{kernel}_broadcast", out.size, out, a, b, walked, parameter, dtype=dtype)


def _by_packs(name: str, kernel: str, count: int, *values: Any, dtype: str) -> Call:
    """The launch of a kernel whose threads take two packs of elements (AT_ONCE of elementwise.cuh)."""
    if count == 0:
        return nothing()
    at_once = min(WIDE // np.dtype(dtype).itemsize, MOST_AT_ONCE)
    blocks = min(-(-count // (2 * at_once * THREADS)), MAX_BLOCKS)
    return launch(name, kernel, (blocks, 1, 1), (THREADS, 1, 1), *values, np.int64(count), dtype=dtype)
