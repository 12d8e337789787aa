"""Activation functions."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import GeluOptions, LeakyReluOptions, SoftmaxOptions
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    Gelu,
    HardSwish,
    LeakyRelu,
    LogSoftmax,
    PRelu,
    Relu,
    Relu6,
    Sigmoid,
    Softmax,
    Tanh,
)
from edge_sdk.ops.elementwise import Add, Clip, Maximum, Minimum, Mul

_UNARY: dict[Builtin, Op] = {
    Builtin.RELU: Relu(),
    Builtin.RELU6: Relu6(),
    Builtin.RELU_N1_TO_1: Clip(-1.0, 1.0),
    Builtin.RELU_0_TO_1: Clip(0.0, 1.0),
    Builtin.LOGISTIC: Sigmoid(),
    Builtin.TANH: Tanh(),
    Builtin.HARD_SWISH: HardSwish(),
    Builtin.LOG_SOFTMAX: LogSoftmax(),
}


@reads(*_UNARY)
def unary(r: Reading, operator: FileOperator) -> None:
    """relu, relu6, clip, sigmoid, tanh, hard_swish, log_softmax."""
    r.emit(operator, _UNARY[Builtin(operator.code)], r.value(operator, 0))


@reads(Builtin.SOFTMAX)
def softmax(r: Reading, operator: FileOperator) -> None:
    """softmax; where its beta is not 1, of beta · x."""
    beta, x = operator.options(SoftmaxOptions).beta, r.value(operator, 0)
    if beta != 1:
        x = r.step(operator, Mul(), x, r.constant(operator, "beta", np.array(beta, np.float32)))
    r.emit(operator, Softmax(), x)


@reads(Builtin.LEAKY_RELU)
def leaky_relu(r: Reading, operator: FileOperator) -> None:
    """leaky_relu."""
    r.emit(operator, LeakyRelu(operator.options(LeakyReluOptions).alpha), r.value(operator, 0))


@reads(Builtin.GELU)
def gelu(r: Reading, operator: FileOperator) -> None:
    """Gelu."""
    r.emit(operator, Gelu(operator.options(GeluOptions).approximate), r.value(operator, 0))


@reads(Builtin.PRELU)
def prelu(r: Reading, operator: FileOperator) -> None:
    """Prelu with one slope a channel; with a slope a pixel max(x, 0) + slope · min(x, 0)."""
    x, slope = r.value(operator, 0), r.known(operator, 1)
    spec, tensor = r.spec(x), r.tensor(operator, 1)
    stored = slope is None and spec.quant is not None and tensor.data is not None and tensor.quant is not None
    if stored:
        slope = tensor.stored
    if slope is None:
        raise FormatError("its slopes must be known before it runs")
    if slope.size in (1, spec.shape[-1]) and slope.size == (slope.shape[-1] if slope.ndim else 1):
        per_channel = np.ascontiguousarray(np.broadcast_to(slope.reshape(-1), spec.shape[-1:]))
        r.emit(operator, PRelu(), x, r.constant(operator, "slope", per_channel, tensor.quant if stored else None))
        return
    if stored:
        raise FormatError("it has a slope for every pixel, which has no 8-bit form; read it as a float Model")
    zero = r.constant(operator, "zero", np.zeros((), np.float32))
    falling = r.step(operator, Mul(), r.step(operator, Minimum(), x, zero), r.value(operator, 1))
    r.emit(operator, Add(), r.step(operator, Maximum(), x, zero), falling)
