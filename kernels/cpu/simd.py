"""Portable SIMD vectors of float32 for Numba kernels: 16 lanes with AVX-512, 8 with AVX2, 4 with NEON or SSE.

    v = load(x, i)              LANES floats from flat element i of array x
    w = 0.5 * v + broadcast(y, j)   arithmetic works lane by lane
    store_some(x, i, w, count)      only the first `count` lanes

Arrays are addressed flat, in elements, and must be C-contiguous. Nothing is bounds-checked.
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


def _machine_lanes() -> int:
    """How many float32 values one vector register holds, of this machine or the one that NUMBA_CPU_NAME names.

    What another machine has is in no table of llvmlite's: LLVM is asked for its code of a sum of 16 numbers.
    """
    name = os.environ.get("NUMBA_CPU_NAME", "host")
    if name == "host":
        features = llvm.get_host_cpu_features()
        return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=name, features=os.environ.get("NUMBA_CPU_FEATURES", ""))
    kind = "<16 x float>"
    module = llvm.parse_assembly(
        f"define void @sum(ptr %p) {{\n%x = load {kind}, ptr %p\n%y = fadd {kind} %x, %x\n"
        f"store {kind} %y, ptr %p\nret void\n}}"
    )
    module.triple = target.triple
    assembly = machine.emit_assembly(module)
    return 16 if "%zmm" in assembly else 8 if "%ymm" in assembly else 4


LANES = int(os.environ.get("EDGE_SIMD_LANES", "0")) or _machine_lanes()
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_F32, LANES)
_INTEGERS = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)


class Vector(types.Type):
    """The Numba type of one vector register of float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)


vector = Vector()


def _element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _in_every_lane(builder: Any, scalar: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(_INTEGERS, [0] * LANES))


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """LANES consecutive elements of `array`, from flat element `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
        value.align = 4
        return value

    return vector(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the lanes of `value` to `array`, from flat element `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], builder.bitcast(pointer, _VECTOR.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def stream(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """As `store` to a place that is aligned to whole vectors, past the caches; see streaming.py."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        stored = builder.store(arguments[2], builder.bitcast(pointer, _VECTOR.as_pointer()))
        stored.align = 4 * LANES
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_I32, 1)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _first_lanes(builder: Any, count: Any) -> Any:
    """A mask that is true in the lanes below `count`."""
    empty = ir.Constant(_INTEGERS, ir.Undefined)
    one = builder.insert_element(empty, builder.trunc(count, _I32), ir.Constant(_I32, 0))
    counts = builder.shuffle_vector(one, empty, ir.Constant(_INTEGERS, [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(_INTEGERS, list(range(LANES))), counts)


@intrinsic
def load_some(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """`count` consecutive elements of `array` from flat element `index` on, and zeros; no memory beyond is touched."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        pointer = builder.bitcast(pointer, _VECTOR.as_pointer())
        kind = ir.FunctionType(_VECTOR, [pointer.type, _I32, _MASK, _VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
        mask, zeros = _first_lanes(builder, arguments[2]), ir.Constant(_VECTOR, [0.0] * LANES)
        return builder.call(function, [pointer, ir.Constant(_I32, 4), mask, zeros])

    return vector(array, types.intp, types.intp), generate


@intrinsic
def store_some(typing_context: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes of `value` to `array`, from flat element `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        pointer = builder.bitcast(pointer, _VECTOR.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [_VECTOR, pointer.type, _I32, _MASK])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{LANES}f32.p0")
        builder.call(function, [arguments[2], pointer, ir.Constant(_I32, 4), _first_lanes(builder, arguments[3])])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def broadcast(typing_context: Any, array: Any, index: Any) -> Any:
    """Element `index` of `array` in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _in_every_lane(builder, builder.load(_element_pointer(context, builder, signature.args[0], *arguments)))

    return vector(array, types.intp), generate


@intrinsic
def zero(typing_context: Any) -> Any:
    """A vector of zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * LANES)

    return vector(), generate


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """A · b + c, rounded once where the machine has such an instruction, twice elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvm.fma would call a slow library function on machines without the instruction.
        function_type = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fmuladd.v{LANES}f32")
        return builder.call(function, arguments)

    return vector(vector, vector, vector), generate


@intrinsic
def square_root(typing_context: Any, value: Any) -> Any:
    """The square root, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        return builder.call(function, arguments)

    return vector(vector), generate


@intrinsic
def splat(typing_context: Any, scalar: Any) -> Any:
    """The float32 `scalar` in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _in_every_lane(builder, arguments[0])

    return vector(types.float32), generate


@intrinsic
def at_least(typing_context: Any, limit: Any, value: Any) -> Any:
    """The larger of both, lane by lane; `value` where it is no number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        limit_value, value_value = arguments
        return builder.select(builder.fcmp_ordered(">", limit_value, value_value), limit_value, value_value)

    return vector(vector, vector), generate


@intrinsic
def at_most(typing_context: Any, limit: Any, value: Any) -> Any:
    """The smaller of both, lane by lane; `value` where it is no number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        limit_value, value_value = arguments
        return builder.select(builder.fcmp_ordered("<", limit_value, value_value), limit_value, value_value)

    return vector(vector, vector), generate


@intrinsic
def where_greater(typing_context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where a > b, `no` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", arguments[0], arguments[1]), arguments[2], arguments[3])

    return vector(vector, vector, vector, vector), generate


@intrinsic
def where_equal(typing_context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where a = b, `no` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered("==", arguments[0], arguments[1]), arguments[2], arguments[3])

    return vector(vector, vector, vector, vector), generate


@intrinsic
def insert(typing_context: Any, value: Any, lane: Any, scalar: Any) -> Any:
    """`value` with one lane replaced."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.insert_element(arguments[0], arguments[2], arguments[1])

    return vector(vector, types.int64, types.float32), generate


@intrinsic
def extract(typing_context: Any, value: Any, lane: Any) -> Any:
    """One lane of `value`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(*arguments)

    return types.float32(vector, types.int64), generate


@intrinsic
def lane_sum(typing_context: Any, value: Any) -> Any:
    """The sum of all lanes, as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_F32, [_F32, _VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
        return builder.call(function, [ir.Constant(_F32, 0.0), arguments[0]], fastmath=("reassoc",))

    return types.float32(vector), generate


@infer_global(operator.mul)
class _Scale(ConcreteTemplate):
    """number · vector: the number is usually a literal of a formula, such as `4 * d`."""

    cases: ClassVar = [signature(vector, number, vector) for number in (types.int64, types.float32, types.float64)]


@lower_builtin(operator.mul, types.Number, vector)
def _lower_scale(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    factor = context.cast(builder, arguments[0], signature.args[0], types.float32)
    return builder.fmul(_in_every_lane(builder, factor), arguments[1], flags=("contract",))


def _define_operator(python_operator: Any, instruction: str) -> None:
    """Give vectors `+`, `-`, `*` or `/`; "contract" lets LLVM fuse a product and a sum into one instruction."""

    @infer_global(python_operator)
    class _Operator(ConcreteTemplate):
        cases: ClassVar = [signature(vector, vector, vector)]

    @lower_builtin(python_operator, vector, vector)
    def _lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*arguments, flags=("contract",))


_INSTRUCTIONS = (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
    (operator.iadd, "fadd"),
)
for _operator, _instruction in _INSTRUCTIONS:
    _define_operator(_operator, _instruction)
