"""Convolutions that gather the statistics of their results: from registers, or else in a pass behind any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_sdk.kernel import Call, Kernel, Packing, kernel, registered_kernels
from edge_sdk.kernels.cpu import bfloat16_conv, conv, conv_precise
from edge_sdk.kernels.cpu.conv_geometry import window_of
from edge_sdk.kernels.cpu.cost import BYTES, seconds
from edge_sdk.kernels.cpu.in_place_statistics import multiply_lines, multiply_matrix
from edge_sdk.kernels.cpu.row_statistics import are_many, compute_and_gather, unevenness
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.statistics import Conv2DStatistics, part_bounds
from edge_sdk.spec import Array, Spec

__all__ = ["bfloat16_conv", "conv_precise"]

OPERATIONS = 6
"""Of a number in registers: it is summed, and the square of its deviation is."""


def _of_convolution(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a kernel of conv2d asks its operator for, asked of the convolution in one with statistics."""

    def ask(op: Conv2DStatistics, *rest: Any) -> Any:
        return function(op.convolution, *rest)

    return ask


def _packing_of(packing: Packing | None) -> Packing | None:
    if packing is None:
        return None
    return Packing(packing.input, _of_convolution(packing.specs), _of_convolution(packing.pack))


def _bounds(y: Array) -> Array:
    return part_bounds(y.shape[0] * y.shape[1], y.shape[2])


def _with_pass(plain: Callable[..., float]) -> Callable[..., float]:
    def cost(op: Conv2DStatistics, once: bool, *inputs: Spec) -> float:
        y = op.infer_outputs(inputs)[0]
        return plain(op.convolution, once, *inputs) + seconds(0, 1, BYTES * y.elements, 0)

    return cost


def _with_sums(plain: Callable[..., float]) -> Callable[..., float]:
    def cost(op: Conv2DStatistics, once: bool, *inputs: Spec) -> float:
        y = op.infer_outputs(inputs)[0]
        n, p, q, _ = y.shape
        return unevenness(n * p, q) * (plain(op.convolution, once, *inputs) + seconds(OPERATIONS * y.elements, 1, 0, 0))

    return cost


def _in_many_parts(applies: Callable[..., bool] | None) -> Callable[..., bool]:
    def when(op: Conv2DStatistics, *inputs: Spec) -> bool:
        n, p, q, _ = op.infer_outputs(inputs)[0].shape
        return are_many(n * p, q) and (applies is None or applies(op.convolution, *inputs))

    return when


def _add_pass(candidate: Kernel) -> None:
    """Declare a kernel of conv2d, followed by a pass over its result."""

    @kernel(
        Conv2DStatistics,
        "cpu",
        algorithm=f"{candidate.algorithm}, then statistics",
        approximate=candidate.approximate,
        when=candidate.when and _of_convolution(candidate.when),
        scratch=candidate.scratch and _of_convolution(candidate.scratch),
        packing=_packing_of(candidate.packing),
        cost=candidate.cost and _with_pass(candidate.cost),
        binds=True,
    )
    def conv2d_then_statistics(
        op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None,
        **keywords: tuple[Array, ...],
    ) -> Call:  # fmt: skip
        y, statistics = out
        convolve = candidate.bind(op.convolution, y, (x, w) if b is None else (x, w, b), keywords)
        return Call(compute_and_gather, (convolve, y, _bounds(y), statistics))


def _add_gathering(plain: Kernel, function: Callable[..., Call]) -> None:
    """Declare a kernel that gathers in registers, made of the `plain` one."""
    kernel(
        Conv2DStatistics,
        "cpu",
        algorithm=f"{plain.algorithm}, gathering",
        when=_in_many_parts(plain.when),
        scratch=plain.scratch and _of_convolution(plain.scratch),
        packing=_packing_of(plain.packing),
        cost=plain.cost and _with_sums(plain.cost),
        binds=True,
    )(function)


def conv2d_in_place(
    op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    packed: tuple[Array, ...],
) -> Call:  # fmt: skip
    (y, statistics), weights, channels = out, packed[0].reshape(-1), x.shape[3]
    bias = weights[:0] if b is None else b
    return multiply_matrix(x, x.size // channels, channels, weights, w.shape[0], y, bias, _bounds(y), statistics)


def conv2d_lines(
    op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> Call:  # fmt: skip
    (y, statistics), weights = out, packed[0].reshape(-1)
    window = window_of(op.convolution, x.shape, w.shape[1:3], y.shape[1:3])
    bias = weights[:0] if b is None else b
    return multiply_lines(x, window, weights, w.shape[0], y, scratch[0], bias, _bounds(y), statistics)


def _declare(gathering: Sequence[tuple[Callable[..., Call], Callable[..., Call]]]) -> None:
    known = registered_kernels(Conv2D, "cpu")
    by_function = {candidate.function: candidate for candidate in known}
    for plain, function in gathering:
        _add_gathering(by_function[plain], function)
    for candidate in known:
        _add_pass(candidate)


_declare([(conv.conv2d_in_place, conv2d_in_place), (conv.conv2d_lines, conv2d_lines)])
