"""Pairs of bfloat16 in the lanes of a vector, and the instruction of AVX-512 BF16 that multiplies and sums them.

A lane of 32 bits then holds two bfloat16, the first in its lower half: a vector of `simd.py` carries them unchanged
through load, store, broadcast and transpose, and arrays of float32 keep them. Nothing else may be computed with it.

A float32 becomes the nearest bfloat16, of two equally near the even one; numbers below 2⁻¹²⁶ become zero. Products are
exact and sums are float32 (Intel 64 and IA-32 Architectures Software Developer's Manual, VCVTNE2PS2BF16, VDPBF16PS).
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from edge_sdk.kernels.cpu.simd import LANES, vector


def _compiled_for_bfloat16() -> bool:
    """Whether this machine has the instructions and nobody asked for code for another one."""
    other = os.environ.get("NUMBA_CPU_NAME") or os.environ.get("NUMBA_CPU_FEATURES")
    return LANES == 16 and not other and bool(llvm.get_host_cpu_features().get("avx512bf16"))


HAS_BFLOAT16 = _compiled_for_bfloat16()
PAIR = 2 * LANES  # numbers in a vector of pairs


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_NARROW = ir.VectorType(_BFloat(), PAIR)
_WORDS = ir.VectorType(ir.IntType(16), PAIR)
_PLACES = ir.VectorType(ir.IntType(32), PAIR)


def _round(builder: Any, first: Any, second: Any) -> Any:
    """The lanes of `first` and then those of `second` as bfloat16."""
    kind = ir.FunctionType(_NARROW, [_FLOATS, _FLOATS])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.cvtne2ps2bf16.512")
    return builder.call(function, [second, first])


@intrinsic
def neighbours(typing_context: Any, first: Any, second: Any) -> Any:
    """Pairs of 2 · LANES consecutive numbers: lane i is (number 2i, number 2i + 1) of `first` and then `second`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(_round(builder, *arguments), _FLOATS)

    return vector(vector, vector), generate


@intrinsic
def lane_pairs(typing_context: Any, first: Any, second: Any) -> Any:
    """Lane i is (first[i], second[i])."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = builder.bitcast(_round(builder, *arguments), _WORDS)
        mask = ir.Constant(_PLACES, [half + lane for lane in range(LANES) for half in (0, LANES)])
        return builder.bitcast(builder.shuffle_vector(words, words, mask), _FLOATS)

    return vector(vector, vector), generate


@intrinsic
def dot_pairs(typing_context: Any, a: Any, b: Any, sums: Any) -> Any:
    """Sums + both products of the pairs in a lane of `a` and of `b`, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_FLOATS, [_FLOATS, _NARROW, _NARROW])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
        a_pairs, b_pairs = (builder.bitcast(argument, _NARROW) for argument in arguments[:2])
        return builder.call(function, [arguments[2], a_pairs, b_pairs])

    return vector(vector, vector, vector), generate
