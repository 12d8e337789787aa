"""Copies of boxes of elements between arrays of any strides, 16 bytes at a time where all sizes allow it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.launch import for_each, nothing
from edge_sdk.kernels.gpu.strides import MAX_RANK, STRIDES, strides
from edge_sdk.spec import Array

WIDE = 16  # bytes of the largest load and store


def move(
    out: Array,
    x: Array,
    shape: Sequence[int],
    out_strides: Sequence[int],
    x_strides: Sequence[int],
    out_begin: int = 0,
    x_begin: int = 0,
) -> Call:
    """Return the copy of a box of a shape, which both arrays hold by their strides from `begin` on, in elements."""
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return nothing()
    box, kernel = strides(shape, x_strides, out_strides), "move"
    lanes = WIDE // x.dtype.itemsize
    if _moves_wide(box, lanes, out_begin, x_begin) and are_aligned(out, x):
        last = int(box["rank"]) - 1
        box["shape"][last] //= lanes
        for name in "ab":
            box[name][:last] //= lanes  # strides of the other axes count in what is moved at once
        kernel, count, out_begin, x_begin = "move_wide", count // lanes, out_begin // lanes, x_begin // lanes
    return for_each("shape", kernel, count, out, x, box, np.int64(out_begin), np.int64(x_begin), dtype=x.dtype.name)


def copy(out: Array, x: Array) -> Call:
    """Return the copy of a whole array, in order; of one onto itself there is nothing to do."""
    driver = current_driver()
    if out.size == 0 or driver.address(out) == driver.address(x):
        return nothing()
    return Call(driver.copy, (out, x.reshape(out.shape)))


def are_aligned(*arrays: Array) -> bool:
    """Whether all arrays begin where 16 bytes can be loaded at once."""
    return all(current_driver().address(array) % WIDE == 0 for array in arrays)


def lanes_of(c: int, *arrays: Array) -> int:
    """Return how many channels a thread computes: what lies in 16 bytes, where that divides them, or 1."""
    lanes = WIDE // arrays[0].dtype.itemsize
    return lanes if c % lanes == 0 and are_aligned(*arrays) else 1


def unmerged_strides(result: Sequence[int], *operands: Sequence[int]) -> np.void:
    """Return the struct Strides with exactly these axes; raises GraphError for more than a kernel takes."""
    if len(result) > MAX_RANK:
        raise GraphError(f"a CUDA kernel walks at most {MAX_RANK} axes; {list(result)} has {len(result)}")
    struct: np.void = np.zeros(1, STRIDES)[0]
    struct["rank"] = len(result)
    for name, values in zip(("shape", "a", "b", "c"), (result, *operands), strict=False):
        struct[name][: len(result)] = values
    return struct


def _moves_wide(box: np.void, lanes: int, *begins: int) -> bool:
    last = int(box["rank"]) - 1
    if last < 0 or box["a"][last] != 1 or box["b"][last] != 1:
        return False
    numbers = [box["shape"][last], *box["a"][:last], *box["b"][:last], *begins]
    return all(int(number) % lanes == 0 for number in numbers)
