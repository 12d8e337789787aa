"""Arithmetic element by element: parallel loops for equal shapes; NumPy's own loops where one input is broadcast."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.fused_activation import ACTIVATIONS, RELU, RELU6
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.kernels.cpu.reduce import sum_to
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
from edge_sdk.spec import Array


@parallel_jit
def _add(a: Array, b: Array, y: Array, activation: int) -> None:
    if activation == RELU:
        for i in prange(y.size):
            y[i] = max(a[i] + b[i], np.float32(0))
    elif activation == RELU6:
        for i in prange(y.size):
            y[i] = min(max(a[i] + b[i], np.float32(0)), np.float32(6))
    else:
        for i in prange(y.size):
            y[i] = a[i] + b[i]


@kernel(Add, "cpu")
def add(op: Add, out: Array, a: Array, b: Array) -> None:
    if a.shape == b.shape and a.dtype == np.float32:
        _add(a.reshape(-1), b.reshape(-1), out.reshape(-1), ACTIVATIONS[op.activation])
        return
    np.add(a, b, out=out)
    if op.activation is not None:
        np.clip(out, 0, 6 if op.activation == "relu6" else None, out=out)


@parallel_jit
def _sub(a: Array, b: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = a[i] - b[i]


@kernel(Sub, "cpu")
def sub(op: Sub, out: Array, a: Array, b: Array) -> None:
    if a.shape == b.shape and a.dtype == np.float32:
        _sub(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    else:
        np.subtract(a, b, out=out)


@parallel_jit
def _mul(a: Array, b: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = a[i] * b[i]


@kernel(Mul, "cpu")
def mul(op: Mul, out: Array, a: Array, b: Array) -> None:
    if a.shape == b.shape and a.dtype == np.float32:
        _mul(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    else:
        np.multiply(a, b, out=out)


@parallel_jit
def _div(a: Array, b: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = a[i] / b[i]


@kernel(Div, "cpu")
def div(op: Div, out: Array, a: Array, b: Array) -> None:
    if a.shape == b.shape and a.dtype == np.float32:
        _div(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    else:
        np.divide(a, b, out=out, casting="unsafe")


@parallel_jit
def _maximum(a: Array, b: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = max(a[i], b[i])


@kernel(Maximum, "cpu")
def maximum(op: Maximum, out: Array, a: Array, b: Array) -> None:
    if a.shape == b.shape and a.dtype == np.float32:
        _maximum(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    else:
        np.maximum(a, b, out=out)


@parallel_jit
def _minimum(a: Array, b: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = min(a[i], b[i])


@kernel(Minimum, "cpu")
def minimum(op: Minimum, out: Array, a: Array, b: Array) -> None:
    if a.shape == b.shape and a.dtype == np.float32:
        _minimum(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    else:
        np.minimum(a, b, out=out)


@kernel(ChosenGrad, "cpu")
def chosen_grad(op: ChosenGrad, out: Array, dy: Array, a: Array, y: Array) -> None:
    np.multiply(dy, np.equal(a, y), out=out)


@parallel_jit
def _neg(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = -x[i]


@kernel(Neg, "cpu")
def neg(op: Neg, out: Array, x: Array) -> None:
    _neg(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _exp(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = np.exp(x[i])


@kernel(Exp, "cpu")
def exp(op: Exp, out: Array, x: Array) -> None:
    _exp(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _log(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = np.log(x[i])


@kernel(Log, "cpu")
def log(op: Log, out: Array, x: Array) -> None:
    _log(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _sqrt(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = np.sqrt(x[i])


@kernel(Sqrt, "cpu")
def sqrt(op: Sqrt, out: Array, x: Array) -> None:
    _sqrt(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _square(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = x[i] * x[i]


@kernel(Square, "cpu")
def square(op: Square, out: Array, x: Array) -> None:
    _square(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _absolute(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = abs(x[i])


@kernel(Abs, "cpu")
def absolute(op: Abs, out: Array, x: Array) -> None:
    _absolute(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _abs_grad(dy: Array, x: Array, dx: Array) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] if x[i] > 0 else (-dy[i] if x[i] < 0 else np.float32(0))


@kernel(AbsGrad, "cpu")
def abs_grad(op: AbsGrad, out: Array, dy: Array, x: Array) -> None:
    _abs_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1))


@kernel(Clip, "cpu")
def clip(op: Clip, out: Array, x: Array) -> None:
    np.clip(x, op.low, op.high, out=out)


@parallel_jit
def _clip_grad(dy: Array, x: Array, dx: Array, low: float, high: float) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] if low <= x[i] <= high else np.float32(0)


@kernel(ClipGrad, "cpu")
def clip_grad(op: ClipGrad, out: Array, dy: Array, x: Array) -> None:
    _clip_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1), op.low, op.high)


@kernel(SumLike, "cpu")
def sum_like(op: SumLike, out: Array, x: Array, like: Array) -> None:
    aligned = (1,) * (x.ndim - like.ndim) + like.shape
    axes = tuple(axis for axis in range(x.ndim) if aligned[axis] == 1 and x.shape[axis] != 1)
    sum_to(x, axes, out)
