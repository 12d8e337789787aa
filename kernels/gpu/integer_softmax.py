"""Softmax of stored numbers by tables of powers."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.integer_rescaling import on_device
from edge_sdk.kernels.gpu.launch import THREADS, launch, nothing
from edge_sdk.kernels.gpu.products import countable
from edge_sdk.ops.activation import Softmax
from edge_sdk.quantization.tables import softmax_table
from edge_sdk.quantization.wide_tables import Shares, softmax_shares
from edge_sdk.spec import Array

WARP = 32


@kernel(Softmax, "gpu", quantized=True, constants=softmax_table, binds=True)
def softmax(op: Softmax, out: Array, x: Array, *, constants: Array) -> Call:
    name = "softmax" if constants.dtype == np.float32 else "fixed_softmax"
    return _by_rows(name, out, x, constants)


@kernel(Softmax, "gpu", quantized="int16", constants=softmax_shares, binds=True)
def wide_softmax(op: Softmax, out: Array, x: Array, *, constants: Shares) -> Call:
    return _by_rows("wide_softmax", out, x, constants.powers, constants.reciprocals)


def _by_rows(name: str, out: Array, x: Array, *tables: Array) -> Call:
    """The launch of a kernel of integer_softmax.cu, a warp for each row."""
    if not out.size:
        return nothing()
    columns = x.shape[-1]
    rows = x.size // columns
    grid = (countable("softmax: blocks", -(-rows // (THREADS // WARP))), 1, 1)
    values = (out, x, *map(on_device, tables), np.int32(columns), np.int64(rows))
    return launch("integer_softmax", name, grid, (THREADS, 1, 1), *values, dtype=x.dtype.name)
