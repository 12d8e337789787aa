"""Activation functions. Those that an opset lacks are composed of others."""

from __future__ import annotations

import math

from edge_sdk.converters.onnx.alignment import per_channel
from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.onnx_graph import Written
from edge_sdk.converters.onnx.writing import Writing, writes
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
from edge_sdk.ops.geometry import Activation

_UNARY: dict[type[Op], str] = {Relu: "Relu", Sigmoid: "Sigmoid", Tanh: "Tanh"}
_HARD_SIGMOID = {"alpha": 1 / 6, "beta": 0.5}
RELU6_LIMIT = 6.0


def activated(t: Writing, activation: Activation, x: Written, y: Written) -> None:
    """Write y as an operator's fused activation of x; nothing where there is none."""
    if activation == "relu":
        t.emit("Relu", [x], y)
    elif activation == "relu6":
        clipped(t, x, y, 0.0, RELU6_LIMIT)


def clipped(t: Writing, x: Written, y: Written, low: float, high: float) -> None:
    """Write y as x between two limits."""
    t.emit("Clip", [x, t.number(low, x), t.number(high, x)], y)


def same_layout(t: Writing, node: Node) -> tuple[Written, Written]:
    """The only input, and the output in its layout."""
    x = t.read(node.inputs[0])
    return x, t.declare(node.output, x.layout)


@writes(Relu, Sigmoid, Tanh)
def unary(t: Writing, op: Op, node: Node) -> None:
    """Relu, Sigmoid, Tanh."""
    x, y = same_layout(t, node)
    t.emit(_UNARY[type(op)], [x], y)


@writes(Relu6)
def relu6(t: Writing, op: Relu6, node: Node) -> None:
    """Clip."""
    x, y = same_layout(t, node)
    clipped(t, x, y, 0.0, RELU6_LIMIT)


@writes(LeakyRelu)
def leaky_relu(t: Writing, op: LeakyRelu, node: Node) -> None:
    """LeakyRelu."""
    x, y = same_layout(t, node)
    t.emit("LeakyRelu", [x], y, alpha=op.slope)


@writes(PRelu)
def prelu(t: Writing, op: PRelu, node: Node) -> None:
    """PRelu."""
    x, y = same_layout(t, node)
    t.emit("PRelu", [x, per_channel(t, node.inputs[1], x.layout)], y)


@writes(HardSigmoid)
def hard_sigmoid(t: Writing, op: HardSigmoid, node: Node) -> None:
    """HardSigmoid with slope 1/6."""
    x, y = same_layout(t, node)
    t.emit("HardSigmoid", [x], y, **_HARD_SIGMOID)


@writes(HardSwish)
def hard_swish(t: Writing, op: HardSwish, node: Node) -> None:
    """HardSwish, before opset 14 x · HardSigmoid(x)."""
    x, y = same_layout(t, node)
    if t.has("HardSwish"):
        t.emit("HardSwish", [x], y)
    else:
        gate = t.before(y, "gate")
        t.emit("HardSigmoid", [x], gate, **_HARD_SIGMOID)
        t.emit("Mul", [x, gate], y)


@writes(Silu)
def silu(t: Writing, op: Silu, node: Node) -> None:
    """X · Sigmoid(x)."""
    x, y = same_layout(t, node)
    gate = t.before(y, "gate")
    t.emit("Sigmoid", [x], gate)
    t.emit("Mul", [x, gate], y)


@writes(Gelu)
def gelu(t: Writing, op: Gelu, node: Node) -> None:
    """Gelu, before opset 20 x / 2 · (1 + Erf(x / √2)), or x / 2 · (1 + Tanh(√(2/π) · (x + 0.044715 · x³)))."""
    x, y = same_layout(t, node)
    if t.has("Gelu"):
        t.emit("Gelu", [x], y, approximate="tanh" if op.approximate else "none")
        return
    names = ("argument", "curve", "above", "half")
    argument, curve, above, half = (t.before(y, name) for name in names)
    if op.approximate:
        square, scaled, moved, inner = (t.before(y, name) for name in ("square", "scaled", "moved", "inner"))
        t.emit("Mul", [x, x], square)
        t.emit("Mul", [square, t.number(0.044715, x)], scaled)
        t.emit("Add", [scaled, t.number(1.0, x)], moved)
        t.emit("Mul", [moved, x], inner)
        t.emit("Mul", [inner, t.number(math.sqrt(2 / math.pi), x)], argument)
        t.emit("Tanh", [argument], curve)
    else:
        t.emit("Mul", [x, t.number(math.sqrt(0.5), x)], argument)
        t.emit("Erf", [argument], curve)
    t.emit("Add", [curve, t.number(1.0, x)], above)
    t.emit("Mul", [x, t.number(0.5, x)], half)
    t.emit("Mul", [half, above], y)


@writes(Softmax, LogSoftmax)
def softmax(t: Writing, op: Softmax | LogSoftmax, node: Node) -> None:
    """Softmax, LogSoftmax, along wherever the last axis is."""
    x = t.read(node.inputs[0])
    if x.layout.inner:
        x = t.read(node.inputs[0], plain(x.rank))
    y = t.declare(node.output, x.layout)
    t.emit("Softmax" if isinstance(op, Softmax) else "LogSoftmax", [x], y, axis=x.axis(x.rank - 1))
