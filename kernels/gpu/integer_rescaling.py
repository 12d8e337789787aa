"""How sums become stored numbers, as rescaling.cuh takes it: factors and limits of edge_sdk.quantization.arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_sdk.kernel import Function, kernel
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.op import Op
from edge_sdk.quantization.arithmetic import Rescaling
from edge_sdk.spec import Array

STORING = np.dtype([(name, "i4") for name in ("form", "zero", "low", "high")])
"""The struct Storing."""
FACTOR = np.dtype(("i4", 4))
"""The struct Factor."""
SINGLE, DOUBLE, FIXED, LONG = range(4)
"""The enum Form."""


def integer_kernel(op: type[Op], **options: Any) -> Callable[[Function], Function]:
    """Register the decorated function on the GPU for stored numbers of 8 and of 16 bits; it returns its launch."""

    def register(function: Function) -> Function:
        kernel(op, "gpu", quantized=True, binds=True, **options)(function)
        return kernel(op, "gpu", quantized="int16", binds=True, **options)(function)

    return register


def on_device(array: Array) -> Array:
    """Return a copy of an array of the host on the device."""
    driver = current_driver()
    placed = driver.allocate(array.nbytes)[: array.nbytes].view(array.dtype).reshape(array.shape)
    driver.write(placed, np.ascontiguousarray(array))
    return placed


def storing(scaling: Rescaling) -> np.void:
    """Return the struct Storing of a rescaling."""
    return structure(STORING, form_of(scaling.factors), scaling.zero_point, scaling.low, scaling.high)


def form_of(factors: Array) -> int:
    """Return the Form of factors, which their type says (`edge_sdk.quantization.arithmetic.rescaled`)."""
    return {"float32": SINGLE, "float64": DOUBLE, "int32": FIXED, "int64": LONG}[factors.dtype.name]


def factor_words(factors: Array) -> Array:
    """Return factors of any form as int32 (channels, 4), each the words of a Factor."""
    words = np.zeros((factors.shape[-1], 4), np.int32)
    form = form_of(factors)
    if form == SINGLE:
        rows = np.atleast_2d(factors)
        words[:, : len(rows)] = np.ascontiguousarray(rows.T).view(np.int32)
    elif form == DOUBLE:
        words[:, :2] = factors.astype("<f8").view("<i4").reshape(-1, 2)
    else:
        words[:, : len(factors)] = factors.T
    return words


def factors_on_device(scaling: Rescaling) -> Array:
    """Return the factors of all channels on the device, int32 (channels, 4)."""
    return on_device(factor_words(scaling.factors))
