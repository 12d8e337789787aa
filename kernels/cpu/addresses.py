"""Arrays by their addresses, for kernels that reach more of them than a function has arguments."""

from __future__ import annotations

from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from edge_sdk.kernels.cpu.jit import inlined_jit


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """The address as a pointer to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(types.int64), generate


@inlined_jit
def floats_at(address, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """`count` float32 that lie one after the other from `address` on; whoever calls keeps their memory alive."""
    return numba.carray(_pointer(address), (count,))
