"""Weights of few different values as Core ML stores them: a table, and small indices packed into bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.compression.palette import SMALLEST_WEIGHT
from edge_sdk.spec import Array


def lookup(builder: Any, weight: Array, bits: int, name: str) -> Any:
    """Return a weight that layers read from a table, or the weight itself where it has more values; nothing is lost."""
    if weight.size < SMALLEST_WEIGHT:
        return weight
    table, indices = np.unique(weight, return_inverse=True)
    if len(table) > 1 << bits:
        return weight
    whole = np.concatenate([table, np.full((1 << bits) - len(table), table[-1])]).astype(np.float32)
    shape = np.array(weight.shape, np.uint32)
    packed = pack(indices.reshape(-1), bits)
    return builder.constexpr_lut_to_dense(indices=packed, lut=whole, shape=shape, name=f"{name}/weight")


def pack(indices: Array, bits: int) -> Array:
    """Return indices (n,) of so many bits one behind the other in bytes, the lowest bits first, uint8 (⌈n · bits/8⌉,).

    As MIL's constexpr_lut_to_dense reads them.
    """
    each = (indices.astype(np.uint8)[:, np.newaxis] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(each.reshape(-1), bitorder="little")
