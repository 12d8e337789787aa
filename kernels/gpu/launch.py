"""Launches: a kernel of a .cu file with its grid and arguments, worked out once when a Session binds."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import Driver, Function, Size, current_driver
from edge_sdk.kernels.gpu.source import source
from edge_sdk.spec import BFLOAT16_BITS, Array

THREADS = 256
_COMPUTED = {
    "float16": "float32", "bfloat16": "float32", BFLOAT16_BITS: "float32",
    "int8": "int32", "uint8": "int32", "int16": "int32",
}  # fmt: skip
MAX_BLOCKS = 16384
"""Blocks of a grid whose threads loop: several times what any GPU runs at once."""


class Launch:
    """A kernel ready to start: calling it costs one call of the driver."""

    def __init__(self, driver: Driver, function: Function, grid: Size, block: Size, shared: int, values: Any) -> None:
        function.check(values)
        self._function, self._grid, self._block, self._shared = function, grid, block, shared
        self._values = tuple(values)  # arrays must live as long as their addresses are used
        held = [
            ctypes.create_string_buffer(value.tobytes(), value.nbytes)
            if isinstance(value, np.generic)
            else ctypes.c_uint64(driver.address(value))
            for value in values
        ]
        self._held = held
        self._pointers = (ctypes.c_void_p * max(len(held), 1))(*(ctypes.addressof(one) for one in held))

    def __call__(self) -> None:
        """Start it on the driver's stream."""
        self._function(self._grid, self._block, self._shared, ctypes.addressof(self._pointers))


def launch(
    name: str, kernel: str, grid: Size, block: Size, *values: Any, dtype: str = "float32", shared: int = 0,
    tensor_cores: bool = False,
) -> Call:  # fmt: skip
    """Return the launch of `kernel` in `name`.cu for numbers of `dtype`, with `shared` bytes of dynamic shared memory.

    `values` are arrays of the device and NumPy scalars (structures too) of exactly the declared types.
    """
    driver = current_driver()
    function = driver.function(source(name, dtype, tensor_cores), kernel)
    return Call(Launch(driver, function, grid, block, shared, values), ())


def for_each(name: str, kernel: str, count: int, *values: Any, dtype: str = "float32") -> Call:
    """Return the launch of a kernel whose threads loop over `count` elements (FOR_EACH); that is its last argument."""
    if count == 0:
        return nothing()
    blocks = min(-(-count // THREADS), MAX_BLOCKS)
    return launch(name, kernel, (blocks, 1, 1), (THREADS, 1, 1), *values, np.int64(count), dtype=dtype)


def sequence(calls: Sequence[Call]) -> Call:
    """Return several launches as one call."""
    return calls[0] if len(calls) == 1 else Call(_make, (tuple(calls),))


def nothing() -> Call:
    """Return the call of an operator on no elements."""
    return sequence(())


def number(value: float, dtype: str = "float32") -> np.generic:
    """Return a number in the type that kernels compute in for `dtype` (COMPUTE in CUDA C)."""
    converted: np.generic = np.dtype(_COMPUTED.get(dtype, dtype)).type(value)
    return converted


def address_table(arrays: Sequence[Array]) -> Array:
    """Return an array of the device with the addresses of others (unsigned long long), for kernels that take many."""
    driver = current_driver()
    table = driver.allocate(8 * max(len(arrays), 1)).view(np.uint64)
    driver.write(table[: len(arrays)], np.array([driver.address(array) for array in arrays], np.uint64))
    return table


def _make(calls: Sequence[Call]) -> None:
    for call in calls:
        call.function(*call.arguments)
