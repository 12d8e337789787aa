"""Arithmetic, comparisons and functions element by element; operands are brought into one layout."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.proto import dtype_name
from edge_sdk.converters.onnx.read_activation import elementwise
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.op import Op
from edge_sdk.ops.activation import Relu6
from edge_sdk.ops.elementwise import Abs, Add, Clip, Div, Exp, Log, Maximum, Minimum, Mul, Neg, Sqrt, Sub
from edge_sdk.ops.functions import Apply, Power, Remainder
from edge_sdk.ops.logic import Bitwise, Compare, Where
from edge_sdk.spec import FLOATS

APPLIED = {
    "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sign": "sign", "Erf": "erf", "Sin": "sin", "Cos": "cos",
    "Tan": "tan", "Asin": "arcsin", "Acos": "arccos", "Atan": "arctan", "Sinh": "sinh", "Cosh": "cosh",
    "Asinh": "arcsinh", "Acosh": "arccosh", "Atanh": "arctanh",
}  # fmt: skip
BINARY: dict[str, Op] = {
    "Add": Add(), "Sub": Sub(), "Mul": Mul(), "Div": Div(), "And": Bitwise("and"), "Or": Bitwise("or"),
    "Xor": Bitwise("xor"), "BitwiseAnd": Bitwise("and"), "BitwiseOr": Bitwise("or"), "BitwiseXor": Bitwise("xor"),
    "Less": Compare("less"), "LessOrEqual": Compare("less_equal"), "Greater": Compare("greater"),
    "GreaterOrEqual": Compare("greater_equal"), "Equal": Compare("equal"),
}  # fmt: skip
UNARY: dict[str, Op] = {"Abs": Abs(), "Neg": Neg(), "Exp": Exp(), "Log": Log(), "Sqrt": Sqrt()}


@reads(*BINARY)
def binary(c: Call) -> Tensor:
    """An operator of two inputs, broadcast as NumPy does; before opset 7 as `axis` says."""
    operands = [c.input(0), c.input(1)]
    if c.opset < 7 and c.integer("broadcast", 0):
        operands[1] = _placed(c, *operands)
    held, layout = c.aligned(operands)
    return c.tensor(c.apply(BINARY[c.node.op_type], *held), layout)


def _placed(c: Call, a: Tensor, b: Tensor) -> Tensor:
    """Give b the axes that broadcasting before opset 7 left to an attribute."""
    axis = c.axis(c.integer("axis", a.rank - b.rank), a.rank + 1)
    behind = a.rank - axis - b.rank
    if behind < 0:
        raise c.unsupported(f"shapes {a.shape} and {b.shape} with axis {axis}")
    return c.result(c.translation.reshape(c.plain(b), (*b.shape, *(1,) * behind)))


@reads(*UNARY)
def unary(c: Call) -> Tensor:
    """An operator of one input."""
    return elementwise(c, lambda x: c.apply(UNARY[c.node.op_type], x))


@reads(*APPLIED)
def applied(c: Call) -> Tensor:
    """A function of one input."""
    return elementwise(c, lambda x: c.apply(Apply(APPLIED[c.node.op_type]), x))  # type: ignore[arg-type]


@reads("Reciprocal")
def reciprocal(c: Call) -> Tensor:
    """1 / x."""
    return elementwise(c, lambda x: c.apply(Div(), c.number(1.0, x), x))


@reads("Identity")
def identity(c: Call) -> Tensor:
    """The input: nothing is added to the graph."""
    return c.either(0)


@reads("Pow")
def power(c: Call) -> Tensor:
    """a^b in a's type."""
    (a, b), layout = c.aligned([c.input(0), c.input(1)])
    if isinstance(b, Constant) and b.array.size == 1 and c.dtype(a) in FLOATS:
        exponent = float(b.array.reshape(()))
        if exponent == 2.0:
            return c.tensor(c.apply(Mul(), a, a), layout)
        if exponent == 0.5:
            return c.tensor(c.apply(Sqrt(), a), layout)
    kind = "float64" if c.dtype(a) not in FLOATS and c.dtype(b) in FLOATS else c.dtype(a)
    return c.tensor(c.cast(c.apply(Power(), c.cast(a, kind), c.cast(b, kind)), c.dtype(a)), layout)


@reads("Mod")
def modulo(c: Call) -> Tensor:
    """What is left of a division, with the sign of the divisor, or with fmod of the dividend."""
    held, layout = c.aligned([c.input(0), c.input(1)])
    return c.tensor(c.apply(Remainder(truncated=bool(c.integer("fmod", 0))), *held), layout)


@reads("BitShift")
def bit_shift(c: Call) -> Tensor:
    """Bits moved to the left or to the right."""
    held, layout = c.aligned([c.input(0), c.input(1)])
    op = Bitwise("shift_left") if c.text("direction") == "LEFT" else Bitwise("shift_right")
    return c.tensor(c.apply(op, *held), layout)


@reads("Not", "BitwiseNot")
def negation(c: Call) -> Tensor:
    """Every bit turned over."""

    def function(x: Held) -> Held:
        ones = np.array(1, bool) if c.dtype(x) == "bool" else np.array(-1).astype(c.dtype(x))
        return c.apply(Bitwise("xor"), x, Constant(ones))

    return elementwise(c, function)


@reads("IsNaN")
def is_nan(c: Call) -> Tensor:
    """A NaN is the one number that is not itself."""
    return elementwise(c, lambda x: c.apply(Compare("not_equal"), x, x))


@reads("IsInf")
def is_inf(c: Call) -> Tensor:
    """Infinite, of the signs that are asked for."""
    negative, positive = c.integer("detect_negative", 1), c.integer("detect_positive", 1)

    def function(x: Held) -> Held:
        if negative and positive:
            return c.apply(Compare("equal"), c.apply(Abs(), x), c.number(math.inf, x))
        wanted = math.inf if positive else -math.inf
        return c.apply(Compare("equal"), x, c.number(wanted if negative or positive else math.nan, x))

    return elementwise(c, function)


@reads("Where")
def where(c: Call) -> Tensor:
    """Y = a where the condition holds, else b."""
    held, layout = c.aligned([c.input(0), c.input(1), c.input(2)])
    return c.tensor(c.apply(Where(), *held), layout)


@reads("Sum", "Max", "Min", "Mean")
def variadic(c: Call) -> Tensor:
    """Any number of inputs, one after the other."""
    op: Op = {"Max": Maximum(), "Min": Minimum()}.get(c.node.op_type, Add())
    total = c.input(0)
    for index in range(1, len(c.inputs)):
        held, layout = c.aligned([total, c.input(index)])
        total = c.tensor(c.apply(op, *held), layout)
    if c.node.op_type == "Mean":
        return c.tensor(c.apply(Div(), total.held, c.number(len(c.inputs), total)), total.layout)
    return total


@reads("Clip")
def clip(c: Call) -> Tensor:
    """Y = x between two bounds, given as attributes before opset 11 and as inputs since."""
    x = c.input(0)
    if c.opset < 11:
        return _bounded(c, c.real("min", -3.402823466e38), c.real("max", 3.402823466e38))
    low, high = c.optional(1), c.optional(2)
    known = [None if each is None else each.array for each in (low, high)]
    numbers = [float(each.reshape(())) for each in known if each is not None and each.size == 1]
    if x.dtype == "float32" and len(numbers) == 2 and numbers[0] <= numbers[1]:
        return _bounded(c, *numbers)
    if x.dtype == "float32" and len(numbers) == 1 and (low is None or high is None):
        return _bounded(c, *((numbers[0], math.inf) if high is None else (-math.inf, numbers[0])))
    result = x
    for op, bound in ((Maximum(), low), (Minimum(), high)):
        if bound is not None:
            held, layout = c.aligned([result, bound])
            result = c.tensor(c.apply(op, *held), layout)
    return result


def _bounded(c: Call, low: float, high: float) -> Tensor:
    if (low, high) == (0.0, 6.0):
        return elementwise(c, lambda x: c.apply(Relu6(), x))
    if low == -math.inf or high == math.inf:  # a file's JSON has no infinite numbers
        op, bound = (Minimum(), high) if low == -math.inf else (Maximum(), low)
        return elementwise(c, lambda x: x if math.isinf(bound) else c.apply(op, x, c.number(bound, x)))
    return elementwise(c, lambda x: c.apply(Clip(low, high), x))


@reads("Cast")
def cast(c: Call) -> Tensor:
    """Y = x in another type."""
    return elementwise(c, _to(c, dtype_name(c.integer("to"), "the result")))


@reads("CastLike")
def cast_like(c: Call) -> Tensor:
    """Y = x in the type of another tensor."""
    return elementwise(c, _to(c, c.input(1).dtype))


def _to(c: Call, dtype: str) -> Callable[[Held], Held]:
    """Cast; what is not 0 is true."""

    def function(x: Held) -> Held:
        if dtype == "bool" and c.dtype(x) != "bool":
            return c.apply(Compare("not_equal"), x, c.number(0, x))
        return c.cast(x, dtype)

    return function
