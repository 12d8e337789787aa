"""Blocks of vectors that LLVM keeps in registers, for the inner loops of kernels.

t = tile(14, 2)
t[m, n] = fma(v, w, t[m, n])
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from edge_sdk.kernels.cpu.simd import _I32, _INTEGERS, _VECTOR, LANES, vector


class Tile(types.Type):
    """A rows × columns block of vectors; LLVM keeps it in registers when unrolling makes every index known."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        super().__init__(name=f"Tile({rows}x{columns})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile_type: Any) -> None:
        super().__init__(manager, tile_type, ir.ArrayType(_VECTOR, tile_type.rows * tile_type.columns).as_pointer())


@intrinsic(prefer_literal=True)
def tile(typing_context: Any, rows: Any, columns: Any) -> Any:
    """A fresh rows × columns tile; both counts must be literal or global constants."""
    result = Tile(rows.literal_value, columns.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.alloca_once(builder, ir.ArrayType(_VECTOR, result.rows * result.columns))

    return result(rows, columns), generate


def _slot(context: Any, builder: Any, tile_type: Any, pointer: Any, index_type: Any, index: Any) -> Any:
    row, column = (
        context.cast(builder, builder.extract_value(index, i), index_type.types[i], types.intp) for i in (0, 1)
    )
    flat = builder.add(builder.mul(row, ir.Constant(row.type, tile_type.columns)), column)
    return builder.gep(pointer, [ir.Constant(_I32, 0), flat], inbounds=True)


@intrinsic
def _tile_get(typing_context: Any, block: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_slot(context, builder, signature.args[0], arguments[0], signature.args[1], arguments[1]))

    return vector(block, index), generate


@intrinsic
def _tile_set(typing_context: Any, block: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        slot = _slot(context, builder, signature.args[0], arguments[0], signature.args[1], arguments[1])
        builder.store(arguments[2], slot)
        return context.get_dummy_value()

    return types.void(block, index, vector), generate


@intrinsic
def transpose(typing_context: Any, block: Any) -> Any:
    """Transpose a LANES × 1 tile, seen as LANES × LANES numbers, in place: log2(LANES) perfect shuffles of its rows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = [
            builder.gep(arguments[0], [ir.Constant(_I32, 0), ir.Constant(_I32, row)], inbounds=True)
            for row in range(LANES)
        ]
        rows = [builder.load(place) for place in places]
        masks = [
            ir.Constant(_INTEGERS, [start + lane // 2 + lane % 2 * LANES for lane in range(LANES)])
            for start in (0, LANES // 2)
        ]
        for _ in range(LANES.bit_length() - 1):
            pairs = zip(rows[: LANES // 2], rows[LANES // 2 :], strict=True)
            rows = [builder.shuffle_vector(first, second, mask) for first, second in pairs for mask in masks]
        for place, row in zip(places, rows, strict=True):
            builder.store(row, place)
        return context.get_dummy_value()

    return types.void(block), generate


# Numba compares the argument names of an overload with those of its implementation, annotations included: none here.
@overload(operator.getitem)
def _getitem(block, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if isinstance(block, Tile):
        return lambda block, index: _tile_get(block, index)  # noqa: PLW0108 - Numba wants a Python function
    return None


@overload(operator.setitem)
def _setitem(block, index, value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if isinstance(block, Tile):
        return lambda block, index, value: _tile_set(block, index, value)  # noqa: PLW0108
    return None
