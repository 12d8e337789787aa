"""Activation functions, element by element, and softmax along the last axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import jit, parallel_jit, prange
from edge_sdk.kernels.cpu.reduce import sum_to
from edge_sdk.ops.activation import (
    ActivationGrad,
    Gelu,
    GeluGrad,
    HardSigmoid,
    HardSigmoidGrad,
    HardSwish,
    HardSwishGrad,
    LeakyRelu,
    LeakyReluGrad,
    LogSoftmax,
    LogSoftmaxGrad,
    PRelu,
    PReluGrad,
    Relu,
    Relu6,
    Sigmoid,
    SigmoidGrad,
    Silu,
    SiluGrad,
    Softmax,
    SoftmaxGrad,
    Tanh,
    TanhGrad,
)
from edge_sdk.spec import Array, Spec

ZERO, HALF, ONE, SIX = np.float32(0), np.float32(0.5), np.float32(1), np.float32(6)
SIXTH, THIRD, THREE = np.float32(1 / 6), np.float32(1 / 3), np.float32(3)
ROOT_HALF = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)
GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBE = 0.044715


@jit
def _logistic(x: Any) -> Any:
    """1 / (1 + e⁻ˣ) without overflow."""
    if x >= ZERO:
        return ONE / (ONE + np.exp(-x))
    e = np.exp(x)
    return e / (ONE + e)


@jit
def _gelu_slope(x: float) -> float:
    return 0.5 * (1 + math.erf(x * ROOT_HALF)) + x * DENSITY * math.exp(-0.5 * x * x)


@jit
def _tanh_gelu_slope(x: float) -> float:
    t = math.tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)


@parallel_jit
def _activation_grad(dy: Array, y: Array, dx: Array, limit: float) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] if ZERO < y[i] < limit else ZERO


@kernel(ActivationGrad, "cpu")
def activation_grad(op: ActivationGrad, out: Array, dy: Array, y: Array) -> None:
    limit = np.float32(6 if op.activation == "relu6" else np.inf)
    _activation_grad(dy.reshape(-1), y.reshape(-1), out.reshape(-1), limit)


@parallel_jit
def _relu(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = max(x[i], ZERO)


@kernel(Relu, "cpu")
def relu(op: Relu, out: Array, x: Array) -> None:
    _relu(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _relu6(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = min(max(x[i], ZERO), SIX)


@kernel(Relu6, "cpu")
def relu6(op: Relu6, out: Array, x: Array) -> None:
    _relu6(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _leaky_relu(x: Array, y: Array, slope: float) -> None:
    for i in prange(y.size):
        y[i] = x[i] if x[i] > ZERO else slope * x[i]


@kernel(LeakyRelu, "cpu")
def leaky_relu(op: LeakyRelu, out: Array, x: Array) -> None:
    _leaky_relu(x.reshape(-1), out.reshape(-1), np.float32(op.slope))


@parallel_jit
def _leaky_relu_grad(dy: Array, x: Array, dx: Array, slope: float) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] if x[i] > ZERO else slope * dy[i]


@kernel(LeakyReluGrad, "cpu")
def leaky_relu_grad(op: LeakyReluGrad, out: Array, dy: Array, x: Array) -> None:
    _leaky_relu_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1), np.float32(op.slope))


@parallel_jit
def _prelu(x: Array, slope: Array, y: Array) -> None:
    for row in prange(x.shape[0]):
        for c in range(x.shape[1]):
            y[row, c] = x[row, c] if x[row, c] > ZERO else slope[c] * x[row, c]


@kernel(PRelu, "cpu")
def prelu(op: PRelu, out: Array, x: Array, slope: Array) -> None:
    channels = x.shape[-1]
    _prelu(x.reshape(-1, channels), slope, out.reshape(-1, channels))


@parallel_jit
def _prelu_grad(dy: Array, x: Array, slope: Array, dx: Array, products: Array) -> None:
    for row in prange(x.shape[0]):
        for c in range(x.shape[1]):
            positive = x[row, c] > ZERO
            dx[row, c] = dy[row, c] if positive else slope[c] * dy[row, c]
            products[row, c] = ZERO if positive else dy[row, c] * x[row, c]


@kernel(PReluGrad, "cpu", scratch=lambda op, dy, x, slope: (Spec((x.elements // x.shape[-1], x.shape[-1])),))
def prelu_grad(
    op: PReluGrad, out: tuple[Array, Array], dy: Array, x: Array, slope: Array, *, scratch: tuple[Array, ...]
) -> None:
    channels = x.shape[-1]
    rows = (-1, channels)
    _prelu_grad(dy.reshape(rows), x.reshape(rows), slope, out[0].reshape(rows), scratch[0])
    sum_to(scratch[0], (0,), out[1])


@parallel_jit
def _sigmoid(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = _logistic(x[i])


@kernel(Sigmoid, "cpu")
def sigmoid(op: Sigmoid, out: Array, x: Array) -> None:
    _sigmoid(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _sigmoid_grad(dy: Array, y: Array, dx: Array) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] * y[i] * (ONE - y[i])


@kernel(SigmoidGrad, "cpu")
def sigmoid_grad(op: SigmoidGrad, out: Array, dy: Array, y: Array) -> None:
    _sigmoid_grad(dy.reshape(-1), y.reshape(-1), out.reshape(-1))


@parallel_jit
def _hard_sigmoid(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = min(max(x[i] * SIXTH + HALF, ZERO), ONE)


@kernel(HardSigmoid, "cpu")
def hard_sigmoid(op: HardSigmoid, out: Array, x: Array) -> None:
    _hard_sigmoid(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _hard_sigmoid_grad(dy: Array, x: Array, dx: Array) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] * SIXTH if -THREE < x[i] < THREE else ZERO


@kernel(HardSigmoidGrad, "cpu")
def hard_sigmoid_grad(op: HardSigmoidGrad, out: Array, dy: Array, x: Array) -> None:
    _hard_sigmoid_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1))


@parallel_jit
def _tanh(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = np.tanh(x[i])


@kernel(Tanh, "cpu")
def tanh(op: Tanh, out: Array, x: Array) -> None:
    _tanh(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _tanh_grad(dy: Array, y: Array, dx: Array) -> None:
    for i in prange(dx.size):
        dx[i] = dy[i] * (ONE - y[i] * y[i])


@kernel(TanhGrad, "cpu")
def tanh_grad(op: TanhGrad, out: Array, dy: Array, y: Array) -> None:
    _tanh_grad(dy.reshape(-1), y.reshape(-1), out.reshape(-1))


@parallel_jit
def _hard_swish(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = x[i] * min(max(x[i] * SIXTH + HALF, ZERO), ONE)


@kernel(HardSwish, "cpu")
def hard_swish(op: HardSwish, out: Array, x: Array) -> None:
    _hard_swish(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _hard_swish_grad(dy: Array, x: Array, dx: Array) -> None:
    for i in prange(dx.size):
        dx[i] = ZERO if x[i] <= -THREE else (dy[i] if x[i] >= THREE else dy[i] * (x[i] * THIRD + HALF))


@kernel(HardSwishGrad, "cpu")
def hard_swish_grad(op: HardSwishGrad, out: Array, dy: Array, x: Array) -> None:
    _hard_swish_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1))


@parallel_jit
def _silu(x: Array, y: Array) -> None:
    for i in prange(y.size):
        y[i] = x[i] * _logistic(x[i])


@kernel(Silu, "cpu")
def silu(op: Silu, out: Array, x: Array) -> None:
    _silu(x.reshape(-1), out.reshape(-1))


@parallel_jit
def _silu_grad(dy: Array, x: Array, dx: Array) -> None:
    for i in prange(dx.size):
        s = _logistic(x[i])
        dx[i] = dy[i] * s * (ONE + x[i] * (ONE - s))


@kernel(SiluGrad, "cpu")
def silu_grad(op: SiluGrad, out: Array, dy: Array, x: Array) -> None:
    _silu_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1))


@parallel_jit
def _gelu(x: Array, y: Array, approximate: bool) -> None:
    for i in prange(y.size):
        e = float(x[i])
        if approximate:
            y[i] = 0.5 * e * (1 + math.tanh(GELU_SCALE * (e + GELU_CUBE * e * e * e)))
        else:
            y[i] = 0.5 * e * (1 + math.erf(e * ROOT_HALF))


@kernel(Gelu, "cpu")
def gelu(op: Gelu, out: Array, x: Array) -> None:
    _gelu(x.reshape(-1), out.reshape(-1), op.approximate)


@parallel_jit
def _gelu_grad(dy: Array, x: Array, dx: Array, approximate: bool) -> None:
    for i in prange(dx.size):
        e = float(x[i])
        dx[i] = dy[i] * (_tanh_gelu_slope(e) if approximate else _gelu_slope(e))


@kernel(GeluGrad, "cpu")
def gelu_grad(op: GeluGrad, out: Array, dy: Array, x: Array) -> None:
    _gelu_grad(dy.reshape(-1), x.reshape(-1), out.reshape(-1), op.approximate)


@parallel_jit
def _softmax(x: Array, y: Array, logarithm: bool) -> None:
    for row in prange(x.shape[0]):
        largest = x[row, 0]
        for c in range(1, x.shape[1]):
            largest = max(largest, x[row, c])
        total = 0.0
        for c in range(x.shape[1]):
            total += np.exp(x[row, c] - largest)
        if logarithm:
            shift = largest + np.log(total)
            for c in range(x.shape[1]):
                y[row, c] = x[row, c] - shift
        else:
            for c in range(x.shape[1]):
                y[row, c] = np.exp(x[row, c] - largest) / total


@kernel(Softmax, "cpu")
def softmax(op: Softmax, out: Array, x: Array) -> None:
    rows = (-1, x.shape[-1])
    _softmax(x.reshape(rows), out.reshape(rows), False)  # noqa: FBT003 - Numba takes no keywords here


@kernel(LogSoftmax, "cpu")
def log_softmax(op: LogSoftmax, out: Array, x: Array) -> None:
    rows = (-1, x.shape[-1])
    _softmax(x.reshape(rows), out.reshape(rows), True)  # noqa: FBT003


@parallel_jit
def _softmax_grad(dy: Array, y: Array, dx: Array, logarithm: bool) -> None:
    for row in prange(y.shape[0]):
        total = 0.0
        for c in range(y.shape[1]):
            total += dy[row, c] if logarithm else dy[row, c] * y[row, c]
        for c in range(y.shape[1]):
            dx[row, c] = dy[row, c] - np.exp(y[row, c]) * total if logarithm else y[row, c] * (dy[row, c] - total)


@kernel(SoftmaxGrad, "cpu")
def softmax_grad(op: SoftmaxGrad, out: Array, dy: Array, y: Array) -> None:
    rows = (-1, y.shape[-1])
    _softmax_grad(dy.reshape(rows), y.reshape(rows), out.reshape(rows), False)  # noqa: FBT003


@kernel(LogSoftmaxGrad, "cpu")
def log_softmax_grad(op: LogSoftmaxGrad, out: Array, dy: Array, y: Array) -> None:
    rows = (-1, y.shape[-1])
    _softmax_grad(dy.reshape(rows), y.reshape(rows), out.reshape(rows), True)  # noqa: FBT003
