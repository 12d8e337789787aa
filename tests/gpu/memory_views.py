"""Memory as libraries are told of it: an address, a type, sizes and strides in elements."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.spec import Array

BITS = 16  # of a float32, in front of those that bfloat16 leaves out


@dataclass(eq=False)
class Strided:
    """Numbers in memory."""

    memory: Array
    is_bfloat16: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.memory.shape

    def numbers(self) -> Array:
        """A copy in float64."""
        if self.is_bfloat16:
            return (self.memory.astype(np.uint32) << BITS).view(np.float32).astype(np.float64)
        return self.memory.astype(np.float64)

    def write(self, numbers: Array) -> None:
        """Overwrite all of it; of bfloat16 the bits that do not fit are cut off."""
        if self.is_bfloat16:
            self.memory[...] = (numbers.astype(np.float32).view(np.uint32) >> BITS).astype(np.uint16)
        else:
            self.memory[...] = numbers


def strided(address: int, dtype: str, shape: Sequence[int], strides: Sequence[int]) -> Strided:
    """Return a view of memory."""
    kind = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    span = sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) + 1
    raw = np.frombuffer((ctypes.c_char * (span * kind.itemsize)).from_address(address), kind)
    steps = [step * kind.itemsize for step in strides]
    return Strided(np.lib.stride_tricks.as_strided(raw, tuple(shape), steps), dtype == "bfloat16")
