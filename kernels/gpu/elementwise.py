"""Arithmetic element by element, with NumPy's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each
from edge_sdk.kernels.gpu.loops import map_broadcast, map_elements
from edge_sdk.kernels.gpu.strides import broadcast_strides, strides
from edge_sdk.kernels.gpu.sums import parts, reduction
from edge_sdk.ops.elementwise import (
    Abs,
    AbsGrad,
    Add,
    ChosenGrad,
    Clip,
    ClipGrad,
    Div,
    Exp,
    Log,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Sqrt,
    Square,
    Sub,
    SumLike,
)
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Array, Spec

ACTIVATIONS: dict[Activation, int] = {None: 0, "relu": 1, "relu6": 2}
"""The enum Activation of CUDA sources."""


@kernel(Add, "gpu", binds=True)
def add(op: Add, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("elementwise", "add", out, a, b, ACTIVATIONS[op.activation])


@kernel(Sub, "gpu", binds=True)
def sub(op: Sub, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("elementwise", "subtract", out, a, b)


@kernel(Mul, "gpu", binds=True)
def mul(op: Mul, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("elementwise", "multiply", out, a, b)


@kernel(Div, "gpu", binds=True)
def div(op: Div, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("elementwise", "divide", out, a, b)


@kernel(Maximum, "gpu", binds=True)
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("elementwise", "maximum", out, a, b)


@kernel(Minimum, "gpu", binds=True)
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> Call:
    return map_broadcast("elementwise", "minimum", out, a, b)


@kernel(ChosenGrad, "gpu", binds=True)
def chosen_grad(op: ChosenGrad, out: Array, dy: Array, a: Array, y: Array) -> Call:
    walked = strides(out.shape, *(broadcast_strides(x.shape, out.shape) for x in (dy, a, y)))
    return for_each("elementwise", "chosen_grad", out.size, out, dy, a, y, walked, dtype=dy.dtype.name)


@kernel(Neg, "gpu", binds=True)
def neg(op: Neg, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "negative", out, x)


@kernel(Exp, "gpu", binds=True)
def exp(op: Exp, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "exponential", out, x)


@kernel(Log, "gpu", binds=True)
def log(op: Log, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "logarithm", out, x)


@kernel(Sqrt, "gpu", binds=True)
def sqrt(op: Sqrt, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "square_root", out, x)


@kernel(Square, "gpu", binds=True)
def square(op: Square, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "square", out, x)


@kernel(Abs, "gpu", binds=True)
def absolute(op: Abs, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "absolute", out, x)


@kernel(AbsGrad, "gpu", binds=True)
def abs_grad(op: AbsGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("elementwise", "absolute_grad", out, dy, x)


@kernel(Clip, "gpu", binds=True)
def clip(op: Clip, out: Array, x: Array) -> Call:
    return map_elements("elementwise", "clip", out, x, p=op.low, q=op.high)


@kernel(ClipGrad, "gpu", binds=True)
def clip_grad(op: ClipGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("elementwise", "clip_grad", out, dy, x, p=op.low, q=op.high)


def _repeated(x: Sequence[int], like: Sequence[int]) -> tuple[int, ...]:
    """The axes of x along which `like` was broadcast."""
    aligned = (1,) * (len(x) - len(like)) + tuple(like)
    return tuple(axis for axis in range(len(x)) if aligned[axis] == 1 and x[axis] != 1)


def _parts(op: SumLike, x: Spec, like: Spec) -> tuple[Spec, ...]:
    return (parts(x.shape, _repeated(x.shape, like.shape), x.dtype),)


@kernel(SumLike, "gpu", scratch=_parts, binds=True)
def sum_like(op: SumLike, out: Array, x: Array, like: Array, scratch: tuple[Array]) -> Call:
    planned = reduction(x.shape, _repeated(x.shape, like.shape))
    return planned.launches("sum_like", "sum", scratch[0], (x,), "sum_parts", out, dtype=x.dtype.name)
