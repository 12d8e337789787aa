"""Convolutions: Winograd's algorithm, or matrix products on what every output sees of the image."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.kernel import Call, Packing, kernel
from edge_sdk.kernels.cpu import winograd
from edge_sdk.kernels.cpu.conv_geometry import whole_grid, window_of, winograd_applies, winograd_layer
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import multiply_window, packed_size, product_cost, product_scratch
from edge_sdk.kernels.cpu.in_place import (
    has_lines,
    is_matrix,
    lines_cost,
    lines_scratch,
    matrix_cost,
    multiply_lines,
    multiply_matrix,
)
from edge_sdk.kernels.cpu.packing import pack_columns
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.ops.conv import Conv2D
from edge_sdk.spec import Array, Spec


def _is_winograd(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> bool:
    return winograd_applies(op, (w.shape[1], w.shape[2]), x.shape[3], w.shape[0])


def _forward_layer(op: Conv2D, x: Spec, w: Spec) -> winograd.Layer:
    return winograd_layer(op, x.shape, op.infer_outputs((x, w))[0].shape)


def _winograd_scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return winograd.convolve_scratch(_forward_layer(op, x, w))


def _winograd_form(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return winograd.transformed_weights(w.shape[0], w.shape[3])


def _transform_weights(op: Conv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    winograd.transform_weights(w.reshape(-1), w.shape[0], w.shape[3], *packed)


def _winograd_cost(op: Conv2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    return winograd.cost(_forward_layer(op, x, w), once)


@kernel(
    Conv2D,
    "cpu",
    algorithm="winograd 4x4",
    approximate=True,
    when=_is_winograd,
    scratch=_winograd_scratch,
    packing=Packing(1, _winograd_form, _transform_weights),
    cost=_winograd_cost,
)
def conv2d_winograd(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    u = packed[0]
    added = (u[:0] if b is None else b, u[:0] if residual is None else residual)
    winograd.convolve(x, winograd_layer(op, x.shape, out.shape), u, out, scratch[0], *added, LIMITS[op.activation])


def _forward_window(op: Conv2D, x: Spec, w: Spec) -> tuple[int, Window, int]:
    """How many images, what an output sees of them, and the outputs a group has."""
    _, p, q, k = op.infer_outputs((x, w))[0].shape
    window = window_of(op, x.shape, (w.shape[1], w.shape[2]), (p, q))
    return x.elements // (window.height * window.width * window.channels), window, k // op.groups


def _forward_scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (product_scratch(*_forward_window(op, x, w)),)


def _forward_form(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    outputs = w.shape[0] // op.groups
    return (Spec((op.groups, packed_size(w.elements // w.shape[0], outputs))),)


def _pack_weights(op: Conv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    outputs, depth = w.shape[0] // op.groups, w.size // w.shape[0]
    for group in range(op.groups):
        pack_columns(w.reshape(-1), group * outputs * depth, outputs, depth, depth, packed[0][group])


def _forward_cost(op: Conv2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    images, window, outputs = _forward_window(op, x, w)
    return op.groups * product_cost(images * window.outputs, window.size, outputs, once)


def _is_matrix(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> bool:
    images, window, _outputs = _forward_window(op, x, w)
    return op.groups == 1 and is_matrix(window, images)


def _matrix_cost(op: Conv2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    return matrix_cost(x.elements // x.shape[3], x.shape[3], w.shape[0], once)


@kernel(
    Conv2D,
    "cpu",
    algorithm="in place",
    when=_is_matrix,
    packing=Packing(1, _forward_form, _pack_weights),
    cost=_matrix_cost,
    binds=True,
)
def conv2d_in_place(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    packed: tuple[Array, ...],
) -> Call:  # fmt: skip
    weights, channels = packed[0].reshape(-1), x.shape[3]
    added = (weights[:0] if b is None else b, weights[:0] if residual is None else residual)
    return multiply_matrix(x, x.size // channels, channels, weights, w.shape[0], out, *added, LIMITS[op.activation])


def _has_lines(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> bool:
    return op.groups == 1 and has_lines(_forward_window(op, x, w)[1])


def _lines_scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (lines_scratch(_forward_window(op, x, w)[1]),)


def _lines_cost(op: Conv2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    return lines_cost(*_forward_window(op, x, w), once)


@kernel(
    Conv2D,
    "cpu",
    algorithm="lines",
    when=_has_lines,
    scratch=_lines_scratch,
    packing=Packing(1, _forward_form, _pack_weights),
    cost=_lines_cost,
    binds=True,
)
def conv2d_lines(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> Call:  # fmt: skip
    weights, (_, p, q, k) = packed[0].reshape(-1), out.shape
    added = (weights[:0] if b is None else b, weights[:0] if residual is None else residual)
    window = window_of(op, x.shape, w.shape[1:3], (p, q))
    return multiply_lines(x, window, weights, k, out, scratch[0], *added, LIMITS[op.activation])


@kernel(
    Conv2D,
    "cpu",
    algorithm="patches",
    scratch=_forward_scratch,
    packing=Packing(1, _forward_form, _pack_weights),
    cost=_forward_cost,
)
def conv2d(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    _, p, q, k = out.shape
    outputs = k // op.groups
    nothing = scratch[0][0, :0]
    for group in range(op.groups):
        first = group * outputs
        multiply_window(
            x, window_of(op, x.shape, w.shape[1:3], (p, q), group), packed[0][group], outputs, out,
            whole_grid(out.shape, first), scratch[0], nothing if b is None else b[first : first + outputs],
            nothing if residual is None else residual, LIMITS[op.activation],
        )  # fmt: skip
