"""Numbers of 16 bits on the host: rounded to bfloat16 and back; naive kernels that take them for what they mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_sdk.spec import HALVES, Array, Spec, dtype_of


def to_bfloat16(numbers: Array) -> Array:
    """Return the bits of float32 or float64 numbers rounded to bfloat16, to nearest, ties to even.

    float64 is rounded to odd on the way to float32, so that rounding twice is rounding once (Boldo and Melquiond 2008).
    """
    with np.errstate(over="ignore"):
        single = np.asarray(numbers, np.float32)
    bits = single.view(np.uint32).astype(np.uint64)
    if numbers.dtype == np.float64:
        wide = single.astype(np.float64)
        inexact = np.isfinite(wide) & (wide != numbers)
        bits = np.where(inexact, (bits - (np.abs(wide) > np.abs(numbers))) | 1, bits)
    rounded = np.where(np.isnan(single), (bits >> 16) | 0x40, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
    return rounded.astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    """Return what the bits of bfloat16 mean, in float32: every such number is one."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def widened(array: Array) -> Array:
    """Return numbers of 16 bits in float32, any others as they are."""
    dtype = dtype_of(array)
    if dtype == "bfloat16":
        return from_bfloat16(array)
    return array.astype(np.float32) if dtype == "float16" else array


def rounded_to(numbers: Array, dtype: str) -> Array:
    """Return float32 or float64 numbers as an array of the host that holds `dtype`, float16 or bfloat16."""
    if dtype == "bfloat16":
        return to_bfloat16(numbers)
    with np.errstate(over="ignore"):
        return numbers.astype(Spec((), dtype).numpy_dtype)


def on_real_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a naive kernel that also takes numbers of 16 bits: it computes on what they mean, and results are rounded.

    That is how an operator on them is specified: nothing is rounded but its results, once.
    """

    @functools.wraps(function)
    def computed(op: Any, out: Any, *inputs: Array, **keywords: Any) -> None:
        several = isinstance(out, tuple)
        outputs: tuple[Array, ...] = out if several else (out,)
        if HALVES.isdisjoint(map(dtype_of, (*outputs, *inputs))):
            function(op, out, *inputs, **keywords)
            return
        real = np.float64 if any(x.dtype == np.float64 for x in inputs) else np.float32
        results = tuple(np.empty(y.shape, real) if dtype_of(y) in HALVES else y for y in outputs)
        function(op, results if several else results[0], *map(widened, inputs), **keywords)
        for y, result in zip(outputs, results, strict=True):
            if y is not result:
                y[...] = rounded_to(result, dtype_of(y))

    return computed
