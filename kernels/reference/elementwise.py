"""Naive kernels of the elementwise family: the executable specification."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
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
from edge_sdk.spec import Array


def activated(activation: Activation, y: Array) -> Array:
    """Apply a fused activation."""
    if activation == "relu":
        return np.maximum(y, 0)
    return np.clip(y, 0, 6) if activation == "relu6" else y


@kernel(Add, "reference")
def add(op: Add, out: Array, a: Array, b: Array) -> None:
    out[...] = activated(op.activation, a + b)


@kernel(Sub, "reference")
def sub(op: Sub, out: Array, a: Array, b: Array) -> None:
    out[...] = a - b


@kernel(Mul, "reference")
def mul(op: Mul, out: Array, a: Array, b: Array) -> None:
    out[...] = a * b


@kernel(Div, "reference")
def div(op: Div, out: Array, a: Array, b: Array) -> None:
    out[...] = a / b


@kernel(Maximum, "reference")
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> None:
    out[...] = np.where(a >= b, a, b)


@kernel(Minimum, "reference")
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> None:
    out[...] = np.where(a <= b, a, b)


@kernel(ChosenGrad, "reference")
def chosen_grad(op: ChosenGrad, out: Array, dy: Array, a: Array, y: Array) -> None:
    out[...] = np.where(a == y, dy, 0)


@kernel(Neg, "reference")
def neg(op: Neg, out: Array, x: Array) -> None:
    out[...] = -x


@kernel(Exp, "reference")
def exp(op: Exp, out: Array, x: Array) -> None:
    out[...] = np.exp(x)


@kernel(Log, "reference")
def log(op: Log, out: Array, x: Array) -> None:
    out[...] = np.log(x)


@kernel(Sqrt, "reference")
def sqrt(op: Sqrt, out: Array, x: Array) -> None:
    out[...] = np.sqrt(x)


@kernel(Square, "reference")
def square(op: Square, out: Array, x: Array) -> None:
    out[...] = x * x


@kernel(Abs, "reference")
def absolute(op: Abs, out: Array, x: Array) -> None:
    out[...] = np.abs(x)


@kernel(AbsGrad, "reference")
def abs_grad(op: AbsGrad, out: Array, dy: Array, x: Array) -> None:
    out[...] = dy * np.sign(x)


@kernel(Clip, "reference")
def clip(op: Clip, out: Array, x: Array) -> None:
    out[...] = np.clip(x, op.low, op.high)


@kernel(ClipGrad, "reference")
def clip_grad(op: ClipGrad, out: Array, dy: Array, x: Array) -> None:
    out[...] = np.where((x >= op.low) & (x <= op.high), dy, 0)


@kernel(SumLike, "reference")
def sum_like(op: SumLike, out: Array, x: Array, like: Array) -> None:
    aligned = (1,) * (x.ndim - like.ndim) + like.shape
    axes = tuple(axis for axis in range(x.ndim) if aligned[axis] == 1 and x.shape[axis] != 1)
    out[...] = x.sum(axis=axes, keepdims=True).reshape(like.shape)
