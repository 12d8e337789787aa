"""Arithmetic element by element; TFLite broadcasts as NumPy does."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import AddOptions, DivOptions, MulOptions, SubOptions
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.control import FullLike
from edge_sdk.ops.elementwise import (
    Abs,
    Add,
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
from edge_sdk.spec import Value

SHIFTED = 1e-3
"""How far the logarithm of a scale may be from a whole number for runtimes to take it for a power of two."""
_BINARY: dict[Builtin, tuple[Op, type[Options] | None]] = {
    Builtin.ADD: (Add(), AddOptions),
    Builtin.SUB: (Sub(), SubOptions),
    Builtin.MUL: (Mul(), MulOptions),
    Builtin.DIV: (Div(), DivOptions),
    Builtin.MAXIMUM: (Maximum(), None),
    Builtin.MINIMUM: (Minimum(), None),
}
_UNARY: dict[Builtin, Op] = {
    Builtin.NEG: Neg(),
    Builtin.EXP: Exp(),
    Builtin.LOG: Log(),
    Builtin.SQRT: Sqrt(),
    Builtin.SQUARE: Square(),
    Builtin.ABS: Abs(),
}


@reads(Builtin.ADD, Builtin.SUB, Builtin.MUL, Builtin.DIV, Builtin.MAXIMUM, Builtin.MINIMUM)
def binary(r: Reading, operator: FileOperator) -> None:
    """add, sub, mul, div, maximum, minimum."""
    op, kind = _BINARY[Builtin(operator.code)]
    options = None if kind is None else operator.options(kind)
    activation = getattr(options, "fused_activation_function", FusedActivation.NONE)
    a, b = r.values(operator, 2)
    if r.quantized and r.spec(a).dtype == "int16" and getattr(options, "pot_scale_int16", False):
        _refuse_shifts(r, operator, a, b)
    r.emit(operator, op, a, b, activation=activation)


def _refuse_shifts(r: Reading, operator: FileOperator, *inputs: Value) -> None:
    """Refuse the old form of a sum of int16, which only shifts, as runtimes take it where scales are powers of two."""
    quants = [*(r.spec(value).quant for value in inputs), r.file.tensors[operator.outputs[0]].quant]
    logarithms = [np.log2(quant.scale[0]) for quant in quants if quant is not None]
    if logarithms and all(abs(logarithm - np.rint(logarithm)) < SHIFTED for logarithm in logarithms):
        raise FormatError("it sums int16 numbers by shifts alone, as scales are powers of two; edge-sdk does not")


@reads(Builtin.NEG, Builtin.EXP, Builtin.LOG, Builtin.SQRT, Builtin.SQUARE, Builtin.ABS)
def unary(r: Reading, operator: FileOperator) -> None:
    """neg, exp, log, sqrt, square, abs."""
    r.emit(operator, _UNARY[Builtin(operator.code)], r.value(operator, 0))


@reads(Builtin.RSQRT)
def reciprocal_square_root(r: Reading, operator: FileOperator) -> None:
    """1 / √x."""
    root = r.step(operator, Sqrt(), r.value(operator, 0))
    r.emit(operator, Div(), r.step(operator, FullLike(1.0), root), root)


@reads(Builtin.SQUARED_DIFFERENCE)
def squared_difference(r: Reading, operator: FileOperator) -> None:
    """(a - b)²."""
    r.emit(operator, Square(), r.step(operator, Sub(), *r.values(operator, 2)))


@reads(Builtin.POW)
def power(r: Reading, operator: FileOperator) -> None:
    """Square, or √x: the powers 2 and 1/2, which are known beforehand."""
    exponent = r.known(operator, 1)
    roots: dict[float, Op] = {2.0: Square(), 0.5: Sqrt()}
    if exponent is None or len(set(np.unique(exponent).tolist())) != 1 or float(exponent.flat[0]) not in roots:
        raise FormatError("its exponent is neither 2 nor 0.5 throughout")
    r.emit(operator, roots[float(exponent.flat[0])], r.value(operator, 0))
