"""Dropout by a counter-based hash, the same mask for any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.ops.random import Dropout
from edge_sdk.spec import Array

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S27, S30, S31, S40 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(40)


@jit
def _splitmix64(state: Any) -> Any:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = np.uint64(state) + GOLDEN
    z = (z ^ (z >> S30)) * FIRST
    z = (z ^ (z >> S27)) * SECOND
    return z ^ (z >> S31)


@parallel_jit
def _dropout(x: Array, y: Array, key: int, threshold: int, scale: float) -> None:
    state = _splitmix64(key)
    for i in prange(x.size):
        kept = (_splitmix64(state + np.uint64(i)) >> S40) >= threshold
        y[i] = x[i] * scale if kept else np.float32(0)


@kernel(Dropout, "cpu")
def dropout(op: Dropout, out: Array, x: Array, step: Array | None = None) -> None:
    if step is None:
        np.copyto(out, x)
        return
    key = np.uint64(((op.seed << 48) + int(step)) % 2**64)
    # A 24-bit number is below rate · 2²⁴ exactly when it is below the next whole number.
    threshold = np.uint64(-int(-op.rate * 2**24 // 1))
    _dropout(x.reshape(-1), out.reshape(-1), key, threshold, np.float32(1 / (1 - op.rate)))
