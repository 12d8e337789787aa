"""Arithmetic element by element; TFLite broadcasts as NumPy does."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.lowering import FUSED, Lowering, Tensor, lower
from edge_sdk.converters.tflite.options import (
    AbsOptions,
    AddOptions,
    DivOptions,
    ExpOptions,
    MaximumMinimumOptions,
    MulOptions,
    NegOptions,
    SubOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, Options
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import (
    Abs,
    Add,
    Clip,
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
)
from edge_sdk.spec import Array, QuantParams

_BINARY: dict[type[Op], tuple[Builtin, Options]] = {
    Mul: (Builtin.MUL, MulOptions()),
    Div: (Builtin.DIV, DivOptions()),
    Maximum: (Builtin.MAXIMUM, MaximumMinimumOptions()),
    Minimum: (Builtin.MINIMUM, MaximumMinimumOptions()),
}
_UNARY: dict[type[Op], tuple[Builtin, Options | None]] = {
    Neg: (Builtin.NEG, NegOptions()),
    Exp: (Builtin.EXP, ExpOptions()),
    Log: (Builtin.LOG, None),
    Sqrt: (Builtin.SQRT, None),
}


@lower(Add)
def add(t: Lowering, op: Add, node: Node) -> None:
    """ADD."""
    inputs = [t.read(value) for value in node.inputs]
    t.emit(Builtin.ADD, inputs, [t.declare(node.output)], add_options(op, inputs[0]))


def add_options(op: Add | Conv2D, x: Tensor) -> AddOptions:
    """Return the options of a sum of x and what is like it, with the activation of `op`."""
    return AddOptions(FUSED[op.activation], pot_scale_int16=_may_shift(x))


@lower(Sub)
def sub(t: Lowering, op: Sub, node: Node) -> None:
    """SUB."""
    inputs = [t.read(value) for value in node.inputs]
    t.emit(Builtin.SUB, inputs, [t.declare(node.output)], SubOptions(pot_scale_int16=_may_shift(inputs[0])))


def _may_shift(x: Tensor) -> bool:
    """Whether a sum may take the old form, which shifts, where scales are powers of two: int16 gets the general one."""
    return x.spec.dtype != "int16" or x.spec.quant is None


@lower(Mul, Div, Maximum, Minimum)
def binary(t: Lowering, op: Op, node: Node) -> None:
    """MUL, DIV, MAXIMUM, MINIMUM."""
    code, options = _BINARY[type(op)]
    t.emit(code, [t.read(value) for value in node.inputs], [t.declare(node.output)], options)


@lower(Abs)
def absolute(t: Lowering, op: Abs, node: Node) -> None:
    """ABS; of int32 for runtimes that lack it, the larger of x and −x."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    if x.spec.dtype == "int32" and t.must_avoid(Builtin.ABS, 5):
        negative = t.temporary(f"{y.name}/negative", y.spec)
        t.emit(Builtin.NEG, [x], [negative], NegOptions())
        t.emit(Builtin.MAXIMUM, [x, negative], [y], MaximumMinimumOptions())
    else:
        t.emit(Builtin.ABS, [x], [y], AbsOptions())


@lower(Neg, Exp, Log, Sqrt)
def unary(t: Lowering, op: Op, node: Node) -> None:
    """NEG, EXP, LOG, SQRT."""
    code, options = _UNARY[type(op)]
    t.emit(code, [t.read(node.inputs[0])], [t.declare(node.output)], options)


@lower(Square)
def square(t: Lowering, op: Square, node: Node) -> None:
    """MUL of x with itself: SQUARE itself knows only floats."""
    x = t.read(node.inputs[0])
    t.emit(Builtin.MUL, [x, x], [t.declare(node.output)], MulOptions())


@lower(Clip)
def clip(t: Lowering, op: Clip, node: Node) -> None:
    """MAXIMUM with the lower bound, then MINIMUM with the upper one."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    if x.spec.quant is not None:
        raise ExportError(f"clip ({node.output}) has no 8-bit form")
    raised = t.temporary(f"{y.name}/raised", y.spec)
    low, high = (np.array(bound, x.spec.numpy_dtype) for bound in (op.low, op.high))
    t.emit(Builtin.MAXIMUM, [x, t.constant(f"{y.name}/low", low)], [raised], MaximumMinimumOptions())
    t.emit(Builtin.MINIMUM, [raised, t.constant(f"{y.name}/high", high)], [y], MaximumMinimumOptions())


def multiply_by(t: Lowering, x: Tensor, factor: Array, y: Tensor) -> None:
    """Write y as x · factor, a constant; where x is quantized it has x's type and a scale of its own."""
    t.emit(Builtin.MUL, [x, _factor_like(t, x, f"{y.name}/factor", factor)], [y], MulOptions())


def _factor_like(t: Lowering, x: Tensor, name: str, factor: Array) -> Tensor:
    if x.spec.quant is None:
        return t.constant(name, np.asarray(factor, x.spec.numpy_dtype))
    dtype = x.spec.numpy_dtype
    scale = float(np.float32((np.abs(factor).max() or 1.0) / np.iinfo(dtype).max))
    return t.constant(name, np.rint(factor / scale).astype(dtype), QuantParams((scale,), (0,)))
