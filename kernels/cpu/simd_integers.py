"""Vectors of whole numbers for Numba kernels on 8-bit data: LANES int32 in a register, beside the floats of simd.py.

    a = broadcast_group(x, i)        the 4 bytes from x[i] on, in every lane
    s = dot4(s, a, w)                every lane: s + Σ of its four products (bytes of a unsigned, of w signed)
    store_bytes(y, i, s)             its lowest byte (simd_rescaling.py makes one of a sum)

Arrays are addressed flat, in their own elements, and must be C-contiguous. Nothing is bounds-checked. All of it is
exact: the instruction of AVX-512 VNNI and the portable form of `dot4` give the same bits.
"""

from __future__ import annotations

import operator
import os
from typing import Any, ClassVar

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from edge_sdk.kernels.cpu.simd import LANES

BYTES = 4 * LANES  # of a register

_I1, _I8, _I16, _I32 = (ir.IntType(bits) for bits in (1, 8, 16, 32))
WORDS = ir.VectorType(_I32, LANES)
_HALVES = ir.VectorType(_I16, 2 * LANES)
_OCTETS = ir.VectorType(_I8, BYTES)


def _has_dot_instruction() -> bool:
    """Whether code is compiled for a processor with AVX-512 VNNI."""
    if LANES != 16 or os.environ.get("NUMBA_CPU_NAME"):
        return False
    return bool(llvm.get_host_cpu_features().get("avx512vnni"))


DOT_INSTRUCTION = _has_dot_instruction() and os.environ.get("EDGE_PORTABLE_DOT") != "1"
"""Whether `dot4` is one instruction; EDGE_PORTABLE_DOT=1 turns it off, for comparisons."""


class Integers(types.Type):
    """The Numba type of one register of int32 lanes."""

    def __init__(self) -> None:
        super().__init__(name=f"int32x{LANES}")


class Octets(types.Type):
    """The Numba type of one register of bytes."""

    def __init__(self) -> None:
        super().__init__(name=f"int8x{BYTES}")


@register_model(Integers)
class _IntegersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, WORDS)


@register_model(Octets)
class _OctetsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _OCTETS)


integers = Integers()
octets = Octets()


def pointer_to(context: Any, builder: Any, to: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Add the address of array[index], as one of a vector `to`."""
    place = builder.gep(context.make_array(array_type)(context, builder, array).data, [index])
    return builder.bitcast(place, to.as_pointer())


def _splat(builder: Any, scalar: Any, lanes: int) -> Any:
    kind = ir.VectorType(scalar.type, lanes)
    empty = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _first(builder: Any, count: Any, lanes: int) -> Any:
    """A mask that is true in the lanes below `count`."""
    numbers = ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, _splat(builder, builder.trunc(count, _I32), lanes))


def masked_load(builder: Any, pointer: Any, kind: Any, name: str, count: Any) -> Any:
    """Add a load of `count` elements of a vector, LLVM's `kind` and `name`, and zeros."""
    mask = _first(builder, count, kind.count)
    function_type = ir.FunctionType(kind, [pointer.type, _I32, mask.type, kind])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.masked.load.{name}.p0")
    return builder.call(function, [pointer, ir.Constant(_I32, 1), mask, ir.Constant(kind, None)])


def masked_store(builder: Any, value: Any, pointer: Any, name: str, count: Any) -> None:
    """Add a store of the first `count` elements of a vector, called `name` by LLVM."""
    mask = _first(builder, count, value.type.count)
    function_type = ir.FunctionType(ir.VoidType(), [value.type, pointer.type, _I32, mask.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.masked.store.{name}.p0")
    builder.call(function, [value, pointer, ir.Constant(_I32, 1), mask])


def plain_load(builder: Any, pointer: Any) -> Any:
    """Add a load of a vector from any address."""
    value = builder.load(pointer)
    value.align = 1
    return value


@intrinsic
def load_integers(typing_context: Any, array: Any, index: Any) -> Any:
    """LANES int32 from the memory at array[index], whatever the array's element type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return plain_load(builder, pointer_to(context, builder, WORDS, signature.args[0], *arguments))

    return integers(array, types.intp), generate


@intrinsic
def load_some_integers(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """`count` int32 from the memory at array[index], and zeros; no memory beyond is touched."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, WORDS, signature.args[0], arguments[0], arguments[1])
        return masked_load(builder, pointer, WORDS, f"v{LANES}i32", arguments[2])

    return integers(array, types.intp, types.intp), generate


@intrinsic
def load_octets(typing_context: Any, array: Any, index: Any) -> Any:
    """BYTES bytes from the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return plain_load(builder, pointer_to(context, builder, _OCTETS, signature.args[0], *arguments))

    return octets(array, types.intp), generate


@intrinsic
def load_some_octets(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """`count` bytes from the memory at array[index], and zeros; no memory beyond is touched."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _OCTETS, signature.args[0], arguments[0], arguments[1])
        return masked_load(builder, pointer, _OCTETS, f"v{BYTES}i8", arguments[2])

    return octets(array, types.intp, types.intp), generate


@intrinsic
def store_octets(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write all bytes to the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _OCTETS, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], pointer).align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, octets), generate


@intrinsic
def store_some_octets(typing_context: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the first `count` bytes to the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _OCTETS, signature.args[0], arguments[0], arguments[1])
        masked_store(builder, arguments[2], pointer, f"v{BYTES}i8", arguments[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, octets, types.intp), generate


@intrinsic
def splat_octets(typing_context: Any, number: Any) -> Any:
    """The low byte of `number` in every byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, builder.trunc(arguments[0], _I8), BYTES)

    return octets(types.int64), generate


@intrinsic
def flip_signs(typing_context: Any, value: Any) -> Any:
    """Bytes x as unsigned x + 128: their highest bit is inverted."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.xor(arguments[0], ir.Constant(_OCTETS, [-128] * BYTES))

    return octets(octets), generate


@intrinsic
def larger_octets(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of both signed bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.icmp_signed(">", *arguments), *arguments)

    return octets(octets, octets), generate


_LINE = ir.VectorType(_I8, LANES)


@intrinsic
def load_bytes(typing_context: Any, array: Any, index: Any) -> Any:
    """LANES signed bytes from the memory at array[index], as int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = plain_load(builder, pointer_to(context, builder, _LINE, signature.args[0], *arguments))
        return builder.sext(value, WORDS)

    return integers(array, types.intp), generate


@intrinsic
def load_some_bytes(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """`count` signed bytes from the memory at array[index], as int32, and zeros; no memory beyond is touched."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _LINE, signature.args[0], arguments[0], arguments[1])
        return builder.sext(masked_load(builder, pointer, _LINE, f"v{LANES}i8", arguments[2]), WORDS)

    return integers(array, types.intp, types.intp), generate


@intrinsic
def store_bytes(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the low byte of every lane to the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _LINE, signature.args[0], arguments[0], arguments[1])
        builder.store(builder.trunc(arguments[2], _LINE), pointer).align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, integers), generate


@intrinsic
def store_some_bytes(typing_context: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the low bytes of the first `count` lanes to the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _LINE, signature.args[0], arguments[0], arguments[1])
        masked_store(builder, builder.trunc(arguments[2], _LINE), pointer, f"v{LANES}i8", arguments[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, integers, types.intp), generate


@intrinsic
def broadcast_group(typing_context: Any, array: Any, index: Any) -> Any:
    """The 4 bytes at array[index] in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = plain_load(builder, pointer_to(context, builder, _I32, signature.args[0], *arguments))
        return _splat(builder, value, LANES)

    return integers(array, types.intp), generate


@intrinsic
def splat_integer(typing_context: Any, number: Any) -> Any:
    """`number` in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, builder.trunc(arguments[0], _I32), LANES)

    return integers(types.int64), generate


def _pair_sums(builder: Any, a: Any, b: Any) -> Any:
    """Products of 16-bit lanes, added in pairs: what one instruction (vpmaddwd) does where LLVM finds it."""
    wide = ir.VectorType(_I32, 2 * LANES)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    none = ir.Constant(wide, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(products, none, ir.Constant(WORDS, list(range(first, 2 * LANES, 2)))) for first in (0, 1)
    )
    return builder.add(even, odd)


def _portable_dot(builder: Any, total: Any, a: Any, b: Any) -> Any:
    a, b = builder.bitcast(a, _HALVES), builder.bitcast(b, _HALVES)
    eight, low = ir.Constant(_HALVES, [8] * 2 * LANES), ir.Constant(_HALVES, [255] * 2 * LANES)
    even = _pair_sums(builder, builder.and_(a, low), builder.ashr(builder.shl(b, eight), eight))
    odd = _pair_sums(builder, builder.lshr(a, eight), builder.ashr(b, eight))
    return builder.add(total, builder.add(even, odd))


@intrinsic
def dot4(typing_context: Any, total: Any, a: Any, b: Any) -> Any:
    """Every lane: total + Σ over its four bytes of a, unsigned, times b, signed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not DOT_INSTRUCTION:
            return _portable_dot(builder, *arguments)
        # LLVM 22 types the factors as bytes, older ones as words.
        factor = _OCTETS if llvm.llvm_version_info >= (22,) else WORDS
        kind = ir.FunctionType(WORDS, [WORDS, factor, factor])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
        total, *factors = arguments
        return builder.call(function, [total, *(builder.bitcast(value, factor) for value in factors)])

    return integers(integers, integers, integers), generate


@intrinsic
def multiply_add(typing_context: Any, total: Any, a: Any, b: Any) -> Any:
    """Total + a · b for lanes of a that fit 16 bits, and the low 16 bits of b, whose high ones are zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, a, b = arguments
        if not DOT_INSTRUCTION:
            return builder.add(total, _pair_sums(builder, builder.bitcast(a, _HALVES), builder.bitcast(b, _HALVES)))
        factor = _HALVES if llvm.llvm_version_info >= (22,) else WORDS
        kind = ir.FunctionType(WORDS, [WORDS, factor, factor])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpwssd.512")
        return builder.call(function, [total, builder.bitcast(a, factor), builder.bitcast(b, factor)])

    return integers(integers, integers, integers), generate


@intrinsic
def limited(typing_context: Any, value: Any, low: Any, high: Any) -> Any:
    """The value, at least `low` and at most `high`, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, low, high = arguments
        value = builder.select(builder.icmp_signed("<", value, high), value, high)
        return builder.select(builder.icmp_signed(">", value, low), value, low)

    return integers(integers, integers, integers), generate


@intrinsic
def shift_right(typing_context: Any, value: Any, bits: Any) -> Any:
    """Every lane divided by 2^bits, towards minus infinity."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ashr(*arguments)

    return integers(integers, integers), generate


def _define_operator(python_operator: Any, instruction: str) -> None:
    @infer_global(python_operator)
    class _Operator(ConcreteTemplate):
        cases: ClassVar = [signature(integers, integers, integers)]

    @lower_builtin(python_operator, integers, integers)
    def _lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*arguments)


_INSTRUCTIONS = ((operator.add, "add"), (operator.sub, "sub"), (operator.mul, "mul"), (operator.iadd, "add"))
for _operator, _instruction in _INSTRUCTIONS:
    _define_operator(_operator, _instruction)
