"""Naive kernels of the random family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.random import Dropout
from edge_sdk.spec import Array

GOLDEN = 0x9E3779B97F4A7C15


def _splitmix64(state: Array) -> Array:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014) on uint64 states."""
    z = state + np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel(Dropout, "reference")
def dropout(op: Dropout, out: Array, x: Array, step: Array | None = None) -> None:
    if step is None:
        out[...] = x
        return
    key = np.array([((op.seed << 48) + int(step)) % 2**64], np.uint64)
    positions = np.arange(x.size, dtype=np.uint64)
    # The upper 24 bits are a uniform number in [0, 1) that float32 holds exactly.
    uniform = (_splitmix64(_splitmix64(key) + positions) >> np.uint64(40)).astype(np.float64) / 2**24
    out[...] = np.where(uniform.reshape(x.shape) < op.rate, 0, x / (1 - op.rate))
