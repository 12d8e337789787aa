"""Vectors of 16-bit numbers in memory, which are int32 in a register (simd_integers.py)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edge_sdk.kernels.cpu.simd import LANES
from edge_sdk.kernels.cpu.simd_integers import WORDS, integers, masked_load, masked_store, plain_load, pointer_to

_HALF_LINE = ir.VectorType(ir.IntType(16), LANES)


@intrinsic
def load_halves(typing_context: Any, array: Any, index: Any) -> Any:
    """LANES int16 from the memory at array[index], as int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = plain_load(builder, pointer_to(context, builder, _HALF_LINE, signature.args[0], *arguments))
        return builder.sext(value, WORDS)

    return integers(array, types.intp), generate


@intrinsic
def load_some_halves(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """`count` int16 from the memory at array[index], as int32, and zeros; no memory beyond is touched."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _HALF_LINE, signature.args[0], arguments[0], arguments[1])
        return builder.sext(masked_load(builder, pointer, _HALF_LINE, f"v{LANES}i16", arguments[2]), WORDS)

    return integers(array, types.intp, types.intp), generate


@intrinsic
def store_halves(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the low 16 bits of every lane to the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _HALF_LINE, signature.args[0], arguments[0], arguments[1])
        builder.store(builder.trunc(arguments[2], _HALF_LINE), pointer).align = 2
        return context.get_dummy_value()

    return types.void(array, types.intp, integers), generate


@intrinsic
def store_some_halves(typing_context: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the low 16 bits of the first `count` lanes to the memory at array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, _HALF_LINE, signature.args[0], arguments[0], arguments[1])
        masked_store(builder, builder.trunc(arguments[2], _HALF_LINE), pointer, f"v{LANES}i16", arguments[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, integers, types.intp), generate
