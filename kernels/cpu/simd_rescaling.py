"""Vectors of int32 sums times factors, rounded as one of the mobile runtime's sets of kernels does it.

    f = load_factors(factors, c, count)         those of the channels from c on
    value = rescale(sums, f, low, high)         clip(round(sums · f), low, high)

The type of the array of factors says how products are rounded (edge_sdk.quantization.arithmetic.rescaled), so every
form is compiled by itself and none costs another one anything.
"""

from __future__ import annotations

import struct
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from edge_sdk.kernels.cpu.simd import LANES, vector
from edge_sdk.kernels.cpu.simd_integers import WORDS, integers, masked_load

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_LONGS = ir.VectorType(ir.IntType(64), LANES)
_INDEX = ir.IntType(64)
_ROUNDING = 1.5 * 2.0**23  # adding it rounds numbers below 2²² to whole ones, halves to even: float32 has no bits below
_ROUNDING_BITS = int.from_bytes(struct.pack("<f", _ROUNDING), "little")


class Factors(types.Type):
    """The Numba type of the factors of one vector of channels: `rows` vectors of numbers."""

    def __init__(self, name: str, kind: Any, suffix: str, rows: int) -> None:
        self.kind, self.suffix, self.rows = kind, suffix, rows
        super().__init__(name=f"{name} factors x{LANES}")


@register_model(Factors)
class _FactorsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, factors: Any) -> None:
        super().__init__(manager, factors, ir.ArrayType(factors.kind, factors.rows))


_FORMS = {
    (types.float32, 1): Factors("float32", _FLOATS, f"v{LANES}f32", 1),
    (types.float32, 2): Factors("float32 with summand", _FLOATS, f"v{LANES}f32", 2),
    (types.float64, 1): Factors("float64", _DOUBLES, f"v{LANES}f64", 1),
    (types.int32, 2): Factors("fixed-point", WORDS, f"v{LANES}i32", 4),
    (types.int64, 2): Factors("fixed-point of long sums", _LONGS, f"v{LANES}i64", 2),
    (types.int64, 1): Factors("long summands", _LONGS, f"v{LANES}i64", 1),
}


@intrinsic
def load_factors(typing_context: Any, array: Any, channel: Any, count: Any) -> Any:
    """The factors of `count` channels from `channel` on, and zeros; no memory beyond is touched."""
    form = _FORMS[array.dtype, array.ndim]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, place, some = arguments
        made = context.make_array(signature.args[0])(context, builder, value)
        channels = builder.extract_value(made.shape, signature.args[0].ndim - 1)
        result = ir.Constant(ir.ArrayType(form.kind, form.rows), ir.Undefined)
        for row in range(form.rows):
            at = builder.add(place, builder.mul(channels, ir.Constant(_INDEX, row)))
            pointer = builder.bitcast(builder.gep(made.data, [at]), form.kind.as_pointer())
            result = builder.insert_value(result, masked_load(builder, pointer, form.kind, form.suffix, some), row)
        return result

    return form(array, types.intp, types.intp), generate


def _rounded(builder: Any, value: Any, low: Any, high: Any) -> Any:
    """Floats between low and high as whole numbers, halves to even."""
    value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
    value = builder.select(builder.fcmp_ordered(">", value, low), value, low)
    whole = builder.bitcast(builder.fadd(value, ir.Constant(_FLOATS, [_ROUNDING] * LANES)), WORDS)
    return builder.sub(whole, ir.Constant(WORDS, [_ROUNDING_BITS] * LANES))


def _rounded_away(builder: Any, value: Any, low: Any, high: Any) -> Any:
    """Doubles between low and high, doubles too, as whole numbers, halves away from zero."""
    value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
    value = builder.select(builder.fcmp_ordered(">", value, low), value, low)
    whole = builder.fptosi(value, WORDS)
    rest = builder.fsub(value, builder.sitofp(whole, _DOUBLES))
    above = builder.fcmp_ordered(">=", rest, ir.Constant(_DOUBLES, [0.5] * LANES))
    below = builder.fcmp_ordered("<=", rest, ir.Constant(_DOUBLES, [-0.5] * LANES))
    return builder.sub(builder.add(whole, builder.zext(above, WORDS)), builder.zext(below, WORDS))


def _fixed_product(builder: Any, total: Any, factors: Any) -> Any:
    """Sums times fixed-point factors (edge_sdk.quantization.fixed_point.product)."""
    multiplier, left, right, away = (builder.extract_value(factors, row) for row in range(4))
    wide = builder.mul(builder.sext(builder.shl(total, left), _LONGS), builder.sext(multiplier, _LONGS))
    wide = builder.add(wide, ir.Constant(_LONGS, [1 << 30] * LANES))
    high = builder.trunc(builder.ashr(wide, ir.Constant(_LONGS, [31] * LANES)), WORDS)
    one = ir.Constant(WORDS, [1] * LANES)
    mask = builder.sub(builder.shl(one, right), one)
    negative = builder.and_(away, builder.lshr(high, ir.Constant(WORDS, [31] * LANES)))
    half = builder.add(builder.lshr(mask, one), negative)
    more = builder.icmp_signed(">", builder.and_(high, mask), half)
    return builder.add(builder.ashr(high, right), builder.zext(more, WORDS))


def _limited(builder: Any, value: Any, low: Any, high: Any) -> Any:
    low, high = builder.fptosi(low, WORDS), builder.fptosi(high, WORDS)
    value = builder.select(builder.icmp_signed("<", value, high), value, high)
    return builder.select(builder.icmp_signed(">", value, low), value, low)


@intrinsic
def rescale(typing_context: Any, total: Any, factors: Any, low: Any, high: Any) -> Any:
    """clip(total · factors, low, high) rounded to whole numbers; low and high are whole, and below 2²¹."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, factors, low, high = arguments
        form = signature.args[1]
        if form.kind == WORDS:
            return _limited(builder, _fixed_product(builder, total, factors), low, high)
        value = builder.fmul(builder.sitofp(total, form.kind), builder.extract_value(factors, 0))
        if form.rows > 1:
            value = builder.fadd(value, builder.extract_value(factors, 1))
        if form.kind == _DOUBLES:
            return _rounded_away(builder, value, builder.fpext(low, _DOUBLES), builder.fpext(high, _DOUBLES))
        return _rounded(builder, value, low, high)

    return integers(integers, factors, vector, vector), generate


@intrinsic
def rescale_halves(
    typing_context: Any, upper: Any, lower: Any, summand: Any, factors: Any, low: Any, high: Any
) -> Any:  # fmt: skip
    """clip((256 · upper + lower + summand) · factors, low, high), of sums in int64; limits are int32 vectors.

    Factors are fixed-point ones of long sums, halves upwards, or float64, halves away from zero.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        upper, lower, summand, factors, low, high = arguments
        eight = ir.Constant(_LONGS, [8] * LANES)
        total = builder.add(builder.shl(builder.sext(upper, _LONGS), eight), builder.sext(lower, _LONGS))
        total = builder.add(total, builder.extract_value(summand, 0))
        if signature.args[3].kind == _DOUBLES:
            value = builder.fmul(builder.sitofp(total, _DOUBLES), builder.extract_value(factors, 0))
            return _rounded_away(builder, value, builder.sitofp(low, _DOUBLES), builder.sitofp(high, _DOUBLES))
        multiplier, shift = builder.extract_value(factors, 0), builder.extract_value(factors, 1)
        one = ir.Constant(_LONGS, [1] * LANES)
        half = builder.shl(one, builder.sub(shift, one))
        product = builder.ashr(builder.add(builder.mul(total, multiplier), half), shift)
        value = builder.trunc(product, WORDS)
        value = builder.select(builder.icmp_signed("<", value, high), value, high)
        return builder.select(builder.icmp_signed(">", value, low), value, low)

    return integers(integers, integers, summand, factors, integers, integers), generate


@intrinsic
def fixed_product(typing_context: Any, total: Any, factors: Any) -> Any:
    """Total · fixed-point factors, rounded to whole numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fixed_product(builder, *arguments)

    return integers(integers, factors), generate
