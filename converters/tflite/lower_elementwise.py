"""Lowering of arithmetic, activations and reductions."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.flatfile import TensorId
from edge_sdk.converters.tflite.lowering import ACTIVATIONS, Lowering, lower
from edge_sdk.converters.tflite.options import (
    AbsOptions,
    AddOptions,
    DequantizeOptions,
    DivOptions,
    ExpOptions,
    HardSwishOptions,
    LeakyReluOptions,
    LocalResponseNormalizationOptions,
    LogSoftmaxOptions,
    MaximumMinimumOptions,
    MulOptions,
    NegOptions,
    QuantizeOptions,
    ReducerOptions,
    SoftmaxOptions,
    SquareOptions,
    SubOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, Options
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    LogSoftmax,
    PRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)
from edge_sdk.ops.elementwise import Abs, Add, Clip, Div, Exp, Log, Maximum, Minimum, Mul, Neg, Sqrt, Square, Sub
from edge_sdk.ops.norm import BatchNorm, LocalResponseNorm
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum

# Operators that are one builtin with fixed options.
_DIRECT: dict[type[Op], tuple[Builtin, Options | None]] = {
    Abs: (Builtin.ABS, AbsOptions()),
    Div: (Builtin.DIV, DivOptions()),
    Exp: (Builtin.EXP, ExpOptions()),
    HardSwish: (Builtin.HARD_SWISH, HardSwishOptions()),
    Log: (Builtin.LOG, None),
    LogSoftmax: (Builtin.LOG_SOFTMAX, LogSoftmaxOptions()),
    Maximum: (Builtin.MAXIMUM, MaximumMinimumOptions()),
    Minimum: (Builtin.MINIMUM, MaximumMinimumOptions()),
    Mul: (Builtin.MUL, MulOptions()),
    Neg: (Builtin.NEG, NegOptions()),
    PRelu: (Builtin.PRELU, None),
    Relu: (Builtin.RELU, None),
    Relu6: (Builtin.RELU6, None),
    Sigmoid: (Builtin.LOGISTIC, None),
    Softmax: (Builtin.SOFTMAX, SoftmaxOptions(beta=1.0)),
    Sqrt: (Builtin.SQRT, None),
    Square: (Builtin.SQUARE, SquareOptions()),
    Sub: (Builtin.SUB, SubOptions()),
    Tanh: (Builtin.TANH, None),
}


def _direct(t: Lowering, node: Node, op: Op) -> None:
    t.simple(node, *_DIRECT[type(op)])


for _op in _DIRECT:
    lower(_op)(_direct)


@lower(Add)
def add(t: Lowering, node: Node, op: Add) -> None:
    """ADD with its fused activation."""
    t.simple(node, Builtin.ADD, AddOptions(ACTIVATIONS[op.activation]))


@lower(LeakyRelu)
def leaky_relu(t: Lowering, node: Node, op: LeakyRelu) -> None:
    """LEAKY_RELU."""
    t.simple(node, Builtin.LEAKY_RELU, LeakyReluOptions(alpha=op.slope))


def _number(t: Lowering, value: float) -> TensorId:
    return t.constant(np.array(value, np.float32))


@lower(Clip)
def clip(t: Lowering, node: Node, op: Clip) -> None:
    """MINIMUM of a MAXIMUM."""
    x = node.inputs[0]
    raised = t.between(x, t.spec(x).shape)
    t.emit(Builtin.MAXIMUM, [t.tensor(x), _number(t, op.low)], [raised], MaximumMinimumOptions())
    t.emit(Builtin.MINIMUM, [raised, _number(t, op.high)], [t.tensor(node.output)], MaximumMinimumOptions())


@lower(HardSigmoid)
def hard_sigmoid(t: Lowering, node: Node, op: HardSigmoid) -> None:
    """RELU6 of x + 3, times 1 / 6."""
    x = node.inputs[0]
    shifted = t.between(x, t.spec(x).shape)
    t.emit(Builtin.ADD, [t.tensor(x), _number(t, 3.0)], [shifted], AddOptions(ACTIVATIONS["relu6"]))
    t.emit(Builtin.MUL, [shifted, _number(t, 1 / 6)], [t.tensor(node.output)], MulOptions())


@lower(Silu)
def silu(t: Lowering, node: Node, op: Silu) -> None:
    """X times LOGISTIC of x."""
    x = node.inputs[0]
    gate = t.between(x, t.spec(x).shape)
    t.emit(Builtin.LOGISTIC, [t.tensor(x)], [gate])
    t.emit(Builtin.MUL, [t.tensor(x), gate], [t.tensor(node.output)], MulOptions())


@lower(BatchNorm)
def batch_norm(t: Lowering, node: Node, op: BatchNorm) -> None:
    """A MUL and an ADD by constants, where no layer before could take it up."""
    x = node.inputs[0]
    scale, offset, mean, variance = (t.workspace[value] for value in node.inputs[1:])
    factor = scale / np.sqrt(np.asarray(variance, np.float64) + op.epsilon)
    scaled = t.between(x, t.spec(x).shape)
    constants = [t.constant(np.asarray(a, np.float32)) for a in (factor, offset - mean * factor)]
    t.emit(Builtin.MUL, [t.tensor(x), constants[0]], [scaled], MulOptions())
    t.emit(Builtin.ADD, [scaled, constants[1]], [t.tensor(node.output)], AddOptions(ACTIVATIONS[op.activation]))


@lower(LocalResponseNorm)
def local_response_norm(t: Lowering, node: Node, op: LocalResponseNorm) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, whose alpha is not divided by the size."""
    options = LocalResponseNormalizationOptions(op.size // 2, op.k, op.alpha / op.size, op.beta)
    t.simple(node, Builtin.LOCAL_RESPONSE_NORMALIZATION, options)


def _reduce(t: Lowering, node: Node, code: Builtin, axes: tuple[int, ...], *, keep_dims: bool) -> None:
    inputs = [t.tensor(node.inputs[0]), t.constant(np.array(axes, np.int32))]
    int8 = t.quantized(node.output)
    t.emit(code, inputs, [t.tensor(node.output)], ReducerOptions(keep_dims=keep_dims), int8=int8)


@lower(ReduceMean)
def reduce_mean(t: Lowering, node: Node, op: ReduceMean) -> None:
    """MEAN."""
    _reduce(t, node, Builtin.MEAN, op.axes, keep_dims=op.keep_dims)


@lower(ReduceSum)
def reduce_sum(t: Lowering, node: Node, op: ReduceSum) -> None:
    """SUM."""
    _reduce(t, node, Builtin.SUM, op.axes, keep_dims=op.keep_dims)


@lower(ReduceMax)
def reduce_max(t: Lowering, node: Node, op: ReduceMax) -> None:
    """REDUCE_MAX."""
    _reduce(t, node, Builtin.REDUCE_MAX, op.axes, keep_dims=op.keep_dims)


@lower(Quantize)
def quantize(t: Lowering, node: Node, op: Quantize) -> None:
    """QUANTIZE: version 1 from floats, 2 from another integer type."""
    version = 1 if t.spec(node.inputs[0]).dtype == "float32" else 2
    inputs, outputs = [t.tensor(node.inputs[0])], [t.tensor(node.output)]
    t.emit(Builtin.QUANTIZE, inputs, outputs, QuantizeOptions(), version=version)


@lower(Dequantize)
def dequantize(t: Lowering, node: Node, op: Dequantize) -> None:
    """DEQUANTIZE from int8."""
    t.emit(Builtin.DEQUANTIZE, [t.tensor(node.inputs[0])], [t.tensor(node.output)], DequantizeOptions(), int8=True)
