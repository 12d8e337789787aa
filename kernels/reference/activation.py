"""Naive kernels of the activation family: the executable specification."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import kernel
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
from edge_sdk.spec import Array

_error_function = np.vectorize(math.erf, otypes=[np.float64])
GELU_SCALE = math.sqrt(2 / math.pi)
GELU_CUBE = 0.044715


def logistic(x: Array) -> Array:
    """1 / (1 + e⁻ˣ) without overflow."""
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


@kernel(ActivationGrad, "reference")
def activation_grad(op: ActivationGrad, out: Array, dy: Array, y: Array) -> None:
    passes = (y > 0) if op.activation == "relu" else (y > 0) & (y < 6)
    out[...] = np.where(passes, dy, 0)


@kernel(Relu, "reference")
def relu(op: Relu, out: Array, x: Array) -> None:
    out[...] = np.maximum(x, 0)


@kernel(Relu6, "reference")
def relu6(op: Relu6, out: Array, x: Array) -> None:
    out[...] = np.clip(x, 0, 6)


@kernel(LeakyRelu, "reference")
def leaky_relu(op: LeakyRelu, out: Array, x: Array) -> None:
    out[...] = np.where(x > 0, x, op.slope * x)


@kernel(LeakyReluGrad, "reference")
def leaky_relu_grad(op: LeakyReluGrad, out: Array, dy: Array, x: Array) -> None:
    out[...] = np.where(x > 0, dy, op.slope * dy)


@kernel(PRelu, "reference")
def prelu(op: PRelu, out: Array, x: Array, slope: Array) -> None:
    out[...] = np.where(x > 0, x, slope * x)


@kernel(PReluGrad, "reference")
def prelu_grad(op: PReluGrad, out: tuple[Array, Array], dy: Array, x: Array, slope: Array) -> None:
    out[0][...] = np.where(x > 0, dy, slope * dy)
    out[1][...] = np.where(x > 0, 0, dy * x).reshape(-1, x.shape[-1]).sum(axis=0)


@kernel(Sigmoid, "reference")
def sigmoid(op: Sigmoid, out: Array, x: Array) -> None:
    out[...] = logistic(x)


@kernel(SigmoidGrad, "reference")
def sigmoid_grad(op: SigmoidGrad, out: Array, dy: Array, y: Array) -> None:
    out[...] = dy * y * (1 - y)


@kernel(HardSigmoid, "reference")
def hard_sigmoid(op: HardSigmoid, out: Array, x: Array) -> None:
    out[...] = np.clip(x / 6 + 0.5, 0, 1)


@kernel(HardSigmoidGrad, "reference")
def hard_sigmoid_grad(op: HardSigmoidGrad, out: Array, dy: Array, x: Array) -> None:
    out[...] = np.where((x > -3) & (x < 3), dy / 6, 0)


@kernel(Tanh, "reference")
def tanh(op: Tanh, out: Array, x: Array) -> None:
    out[...] = np.tanh(x)


@kernel(TanhGrad, "reference")
def tanh_grad(op: TanhGrad, out: Array, dy: Array, y: Array) -> None:
    out[...] = dy * (1 - y * y)


@kernel(HardSwish, "reference")
def hard_swish(op: HardSwish, out: Array, x: Array) -> None:
    out[...] = x * np.clip(x / 6 + 0.5, 0, 1)


@kernel(HardSwishGrad, "reference")
def hard_swish_grad(op: HardSwishGrad, out: Array, dy: Array, x: Array) -> None:
    out[...] = dy * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))


@kernel(Silu, "reference")
def silu(op: Silu, out: Array, x: Array) -> None:
    out[...] = x * logistic(x)


@kernel(SiluGrad, "reference")
def silu_grad(op: SiluGrad, out: Array, dy: Array, x: Array) -> None:
    s = logistic(x)
    out[...] = dy * s * (1 + x * (1 - s))


@kernel(Gelu, "reference")
def gelu(op: Gelu, out: Array, x: Array) -> None:
    if op.approximate:
        out[...] = x / 2 * (1 + np.tanh(GELU_SCALE * (x + GELU_CUBE * x**3)))
    else:
        out[...] = x / 2 * (1 + _error_function(x / math.sqrt(2)))


@kernel(GeluGrad, "reference")
def gelu_grad(op: GeluGrad, out: Array, dy: Array, x: Array) -> None:
    if op.approximate:
        t = np.tanh(GELU_SCALE * (x + GELU_CUBE * x**3))
        slope = (1 + t) / 2 + x / 2 * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)
    else:
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        slope = (1 + _error_function(x / math.sqrt(2))) / 2 + x * density
    out[...] = dy * slope


def stable_softmax(x: Array) -> Array:
    """Softmax along the last axis without overflow."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@kernel(Softmax, "reference")
def softmax(op: Softmax, out: Array, x: Array) -> None:
    out[...] = stable_softmax(x)


@kernel(SoftmaxGrad, "reference")
def softmax_grad(op: SoftmaxGrad, out: Array, dy: Array, y: Array) -> None:
    out[...] = y * (dy - (dy * y).sum(axis=-1, keepdims=True))


@kernel(LogSoftmax, "reference")
def log_softmax(op: LogSoftmax, out: Array, x: Array) -> None:
    shifted = x - x.max(axis=-1, keepdims=True)
    out[...] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@kernel(LogSoftmaxGrad, "reference")
def log_softmax_grad(op: LogSoftmaxGrad, out: Array, dy: Array, y: Array) -> None:
    out[...] = dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)
