"""Tiles of int32 vectors: sums that stay in registers while a product runs over its depth.

    t = integer_tile(14, 2)
    t[m, n] = dot4(t[m, n], a, w)

As simd_tile.Tile for floats: LLVM keeps the tile in registers when unrolling makes every index known.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from edge_sdk.kernels.cpu.simd_integers import WORDS, integers


class IntegerTile(types.Type):
    """A rows × columns block of int32 vectors, as simd_tile.Tile is one of floats."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        super().__init__(name=f"IntegerTile({rows}x{columns})")


@register_model(IntegerTile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile_type: Any) -> None:
        super().__init__(manager, tile_type, ir.ArrayType(WORDS, tile_type.rows * tile_type.columns).as_pointer())


@intrinsic(prefer_literal=True)
def integer_tile(typing_context: Any, rows: Any, columns: Any) -> Any:
    """A fresh rows × columns tile; both counts must be literal or global constants."""
    result = IntegerTile(rows.literal_value, columns.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.alloca_once(builder, ir.ArrayType(WORDS, result.rows * result.columns))

    return result(rows, columns), generate


def _slot(context: Any, builder: Any, tile_type: Any, pointer: Any, index_type: Any, index: Any) -> Any:
    row, column = (
        context.cast(builder, builder.extract_value(index, i), index_type.types[i], types.intp) for i in (0, 1)
    )
    flat = builder.add(builder.mul(row, ir.Constant(row.type, tile_type.columns)), column)
    return builder.gep(pointer, [ir.Constant(ir.IntType(32), 0), flat], inbounds=True)


@intrinsic
def _tile_get(typing_context: Any, block: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_slot(context, builder, signature.args[0], arguments[0], signature.args[1], arguments[1]))

    return integers(block, index), generate


@intrinsic
def _tile_set(typing_context: Any, block: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        slot = _slot(context, builder, signature.args[0], arguments[0], signature.args[1], arguments[1])
        builder.store(arguments[2], slot)
        return context.get_dummy_value()

    return types.void(block, index, integers), generate


# Numba compares the argument names of an overload with those of its implementation, annotations included: none here.
@overload(operator.getitem)
def _getitem(block, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if isinstance(block, IntegerTile):
        return lambda block, index: _tile_get(block, index)  # noqa: PLW0108 - Numba wants a Python function
    return None


@overload(operator.setitem)
def _setitem(block, index, value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if isinstance(block, IntegerTile):
        return lambda block, index, value: _tile_set(block, index, value)  # noqa: PLW0108
    return None
