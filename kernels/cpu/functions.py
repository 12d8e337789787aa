"""Functions of numbers: NumPy's own loops, for every type; networks on photos hardly use them."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.functions import Apply, Power, Remainder
from edge_sdk.spec import Array


@parallel_jit
def _erf(x: Array, y: Array) -> None:
    for i in prange(x.size):
        y[i] = math.erf(x[i])


@kernel(Apply, "cpu")
def apply(op: Apply, out: Array, x: Array) -> None:
    if op.function == "erf":
        _erf(x.reshape(-1), out.reshape(-1))
        return
    function = np.rint if op.function == "round" else getattr(np, op.function)
    with np.errstate(invalid="ignore", divide="ignore"):
        function(x, out=out)


@kernel(Power, "cpu")
def power(op: Power, out: Array, a: Array, b: Array) -> None:
    with np.errstate(all="ignore"):
        np.power(a, b, out=out)


@kernel(Remainder, "cpu")
def remainder(op: Remainder, out: Array, a: Array, b: Array) -> None:
    with np.errstate(all="ignore"):
        (np.fmod if op.truncated else np.mod)(a, b, out=out)
