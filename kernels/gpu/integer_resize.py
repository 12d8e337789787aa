"""Resizing of stored numbers: by tables of two sources and whole weights for each position along each axis."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.integer_rescaling import integer_kernel, on_device
from edge_sdk.kernels.gpu.launch import for_each, nothing
from edge_sdk.kernels.gpu.moves import lanes_of
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.ops.resize import Resize
from edge_sdk.quantization.resampling import Mixture, Mixtures, mixtures
from edge_sdk.spec import Array

MIXING = np.dtype([(name, "i4") for name in ("height", "width", "rows", "columns", "channels", "bits", "away")])
"""The struct Mixing of integer_resize.cu."""


@integer_kernel(Resize, constants=mixtures)
def resize(op: Resize, out: Array, x: Array, *, constants: Mixtures) -> Call:
    if not out.size:
        return nothing()
    tables = (_mixed(axis) for axis in (constants.rows, constants.columns))
    described = structure(MIXING, *x.shape[1:3], *out.shape[1:], 2 * constants.bits, int(constants.symmetric))
    lanes = lanes_of(x.shape[3], out, x)
    name = "resize_wide" if lanes > 1 else "resize"
    return for_each("integer_resize", name, out.size // lanes, out, x, *tables, described, dtype=x.dtype.name)


def _mixed(axis: Mixture) -> Array:
    """The structs Mixed of an axis on the device."""
    return on_device(np.concatenate([axis.positions, axis.weights], axis=1).astype(np.int32))
