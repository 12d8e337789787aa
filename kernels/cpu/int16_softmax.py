"""Softmax of 16-bit numbers in whole numbers, by a table of powers and the points of 1 / (1 + x)."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.activation import Softmax
from edge_sdk.quantization.wide_tables import ONE, Shares, softmax_shares
from edge_sdk.spec import Array


@parallel_jit
def _softmax(x: Array, powers: Array, reciprocals: Array, out: Array) -> None:
    """As edge_sdk.quantization.wide_tables.Shares.store, row by row."""
    for row in prange(x.shape[0]):
        largest = np.int64(-32768)
        for e in range(x.shape[1]):
            largest = max(largest, np.int64(x[row, e]))
        total = np.int64(0)
        for e in range(x.shape[1]):
            total += powers[largest - x[row, e]]
        headroom = 0
        while total << headroom < 1 << 31:
            headroom += 1
        above = (((total << (headroom - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
        above = min(max(above, np.int64(-32768)), np.int64(ONE))
        place, rest = (above >> 7) + 256, above & 127
        base = np.int64(reciprocals[place])
        reciprocal = base + (((np.int64(reciprocals[place + 1]) - base) * rest + 64) >> 7)
        shift = 31 - headroom
        for e in range(x.shape[1]):
            share = (powers[largest - x[row, e]] * reciprocal + (1 << (shift - 1))) >> shift
            out[row, e] = min(max(share, 0), ONE)


@kernel(Softmax, "cpu", algorithm="table", quantized="int16", constants=softmax_shares)
def softmax(op: Softmax, out: Array, x: Array, *, constants: Shares) -> None:
    if x.size:
        _softmax(x.reshape(-1, x.shape[-1]), constants.powers, constants.reciprocals, out.reshape(-1, x.shape[-1]))
