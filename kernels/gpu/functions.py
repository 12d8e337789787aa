"""Functions of numbers: rounding, trigonometry, powers and remainders."""

from __future__ import annotations

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.loops import map_broadcast, map_elements
from edge_sdk.ops.functions import Apply, Power, Remainder
from edge_sdk.spec import Array


@kernel(Apply, "gpu", binds=True)
def apply(op: Apply, out: Array, x: Array) -> Call:
    return map_elements("functions", f"apply_{op.function}", out, x)


@kernel(Power, "gpu", binds=True)
def power(op: Power, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("functions", "raised", out, a, b)


@kernel(Remainder, "gpu", binds=True)
def remainder(op: Remainder, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("functions", "modulo", out, a, b, int(op.truncated))
