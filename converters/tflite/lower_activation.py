"""Activation functions. Those that the runtimes lack are composed of two operators."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.converters.tflite.lower_elementwise import multiply_by
from edge_sdk.converters.tflite.lowering import Lowering, Tensor, lower
from edge_sdk.converters.tflite.options import (
    AddOptions,
    GeluOptions,
    HardSwishOptions,
    LeakyReluOptions,
    LogSoftmaxOptions,
    MulOptions,
    SoftmaxOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    Gelu,
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

_UNARY: dict[type[Op], tuple[Builtin, Options | None]] = {
    Relu: (Builtin.RELU, None),
    Relu6: (Builtin.RELU6, None),
    Sigmoid: (Builtin.LOGISTIC, None),
    Tanh: (Builtin.TANH, None),
    HardSwish: (Builtin.HARD_SWISH, HardSwishOptions()),
    Softmax: (Builtin.SOFTMAX, SoftmaxOptions(beta=1.0)),
    LogSoftmax: (Builtin.LOG_SOFTMAX, LogSoftmaxOptions()),
}


@lower(Relu, Relu6, Sigmoid, Tanh, HardSwish, Softmax, LogSoftmax)
def unary(t: Lowering, op: Op, node: Node) -> None:
    """RELU, RELU6, LOGISTIC, TANH, HARD_SWISH, SOFTMAX, LOG_SOFTMAX."""
    code, options = _UNARY[type(op)]
    t.emit(code, [t.read(node.inputs[0])], [t.declare(node.output)], options)


@lower(LeakyRelu)
def leaky_relu(t: Lowering, op: LeakyRelu, node: Node) -> None:
    """LEAKY_RELU."""
    t.emit(Builtin.LEAKY_RELU, [t.read(node.inputs[0])], [t.declare(node.output)], LeakyReluOptions(alpha=op.slope))


@lower(PRelu)
def prelu(t: Lowering, op: PRelu, node: Node) -> None:
    """PRELU, whose slopes have all axes of x but the batch."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    slope = t.array(node.inputs[1])
    shape = (1,) * max(0, x.spec.rank - 2) + slope.shape
    t.emit(Builtin.PRELU, [x, t.constant(node.inputs[1], slope.reshape(shape), t.spec(node.inputs[1]).quant)], [y])


@lower(Gelu)
def gelu(t: Lowering, op: Gelu, node: Node) -> None:
    """GELU; for runtimes that lack it, its approximation by a hyperbolic tangent is composed of what they have."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    if op.approximate and t.must_avoid(Builtin.GELU, 1):
        _composed_gelu(t, x, y)
    else:
        t.emit(Builtin.GELU, [x], [y], GeluOptions(approximate=op.approximate))


def _composed_gelu(t: Lowering, x: Tensor, y: Tensor) -> None:
    """X · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2, with x · x once."""
    square, inner, argument, tanh, raised = (
        t.temporary(f"{y.name}/{part}", y.spec) for part in ("square", "inner", "argument", "tanh", "raised")
    )
    half = t.temporary(f"{y.name}/half", y.spec)
    root = math.sqrt(2 / math.pi)
    one = t.constant(f"{y.name}/one", np.array(1, x.spec.numpy_dtype))
    linear = t.constant(f"{y.name}/linear", np.array(root, x.spec.numpy_dtype))
    scaled = t.temporary(f"{y.name}/scaled", y.spec)
    t.emit(Builtin.MUL, [x, x], [square], MulOptions())
    multiply_by(t, square, np.array(0.044715 * root), scaled)
    t.emit(Builtin.ADD, [scaled, linear], [inner], AddOptions())
    t.emit(Builtin.MUL, [inner, x], [argument], MulOptions())
    t.emit(Builtin.TANH, [argument], [tanh])
    t.emit(Builtin.ADD, [tanh, one], [raised], AddOptions())
    multiply_by(t, x, np.array(0.5), half)
    t.emit(Builtin.MUL, [half, raised], [y], MulOptions())


@lower(HardSigmoid)
def hard_sigmoid(t: Lowering, op: HardSigmoid, node: Node) -> None:
    """relu6(x + 3) / 6: ADD and MUL."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    _refuse_quantized(x, node)
    moved = t.temporary(f"{y.name}/moved", y.spec)
    three = t.constant(f"{y.name}/three", np.array(3, x.spec.numpy_dtype))
    t.emit(Builtin.ADD, [x, three], [moved], AddOptions(fused_activation_function=FusedActivation.RELU6))
    multiply_by(t, moved, np.array(1 / 6), y)


@lower(Silu)
def silu(t: Lowering, op: Silu, node: Node) -> None:
    """X · sigmoid(x): LOGISTIC and MUL."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    _refuse_quantized(x, node)
    sigmoid = t.temporary(f"{y.name}/sigmoid", y.spec)
    t.emit(Builtin.LOGISTIC, [x], [sigmoid])
    t.emit(Builtin.MUL, [x, sigmoid], [y], MulOptions())


def _refuse_quantized(x: Tensor, node: Node) -> None:
    if x.spec.quant is not None:
        raise ExportError(f"{node.op.name} (node {node.output!r}) has no 8-bit form")
