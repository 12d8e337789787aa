"""Products of whole numbers with fixed-point factors, one at a time; loops over them are vectorised by the compiler.

The functions of edge_sdk.quantization.arithmetic.rescaled and fixed_point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.kernels.cpu.jit import inlined_jit


@inlined_jit
def long_product(total: int, multiplier: int, shift: int) -> Any:
    """Return an int64 sum times a multiplier of 15 bits, shifted right, halves upwards."""
    return np.int64(np.int32((total * multiplier + (np.int64(1) << (shift - 1))) >> shift))


@inlined_jit
def shifted(x: int, left: int) -> Any:
    """Return x · 2^left, downwards where that is a division."""
    return np.int64(x) << left if left >= 0 else np.int64(x) >> -left


@inlined_jit
def high_product(x: int, multiplier: int) -> Any:
    """Return x · m / 2^31 rounded, halves upwards."""
    return (x * multiplier + (np.int64(1) << 30)) >> 31


@inlined_jit
def fixed_product(x: int, multiplier: int, left: int, right: int) -> Any:
    """Return x · m / 2^31 · 2^(left - right), rounded twice, the second time with halves away from zero."""
    high = high_product(np.int64(np.int32(x << left)), multiplier)
    mask = (np.int64(1) << right) - 1
    half = (mask >> 1) + np.int64(high < 0)
    return (high >> right) + np.int64((high & mask) > half)
