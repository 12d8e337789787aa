"""Naive kernels of the functions family: the executable specification."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.functions import Apply, Power, Remainder
from edge_sdk.spec import Array

# What NumPy calls otherwise, or does not have.
_FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "round": np.rint,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}


@kernel(Apply, "reference")
def apply(op: Apply, out: Array, x: Array) -> None:
    function = _FUNCTIONS.get(op.function) or getattr(np, op.function)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[...] = function(x) if x.size else x


@kernel(Power, "reference")
def power(op: Power, out: Array, a: Array, b: Array) -> None:
    with np.errstate(all="ignore"):
        # NumPy refuses negative powers of whole numbers, which round to 0 like every fraction here.
        out[...] = np.power(a, b) if a.dtype.kind == "f" else np.power(a.astype(np.float64), b)


@kernel(Remainder, "reference")
def remainder(op: Remainder, out: Array, a: Array, b: Array) -> None:
    with np.errstate(all="ignore"):
        out[...] = np.fmod(a, b) if op.truncated else np.mod(a, b)
