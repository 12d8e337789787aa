"""The gradients of convolutions, by the same algorithms as the convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_sdk.kernel import Call, Packing, kernel
from edge_sdk.kernels.cpu import winograd
from edge_sdk.kernels.cpu.conv_geometry import (
    GEOMETRIES,
    transposed_layer,
    window_of,
    winograd_applies,
    winograd_layer,
)
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import Grid, multiply_window, packed_size, product_cost, product_scratch
from edge_sdk.kernels.cpu.in_place import is_matrix, matrix_cost, multiply_matrix
from edge_sdk.kernels.cpu.jit import threads
from edge_sdk.kernels.cpu.packing import pack_rows
from edge_sdk.kernels.cpu.patches import Window, whole_rows
from edge_sdk.kernels.cpu.weight_gradient import weight_gradient, weight_gradient_cost, weight_gradient_scratch
from edge_sdk.ops.conv import Conv2DGradInput, Conv2DGradWeight
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.spec import Array, Spec


def _grad_input_is_winograd(op: Conv2DGradInput, dy: Spec, w: Spec) -> bool:
    return winograd_applies(op, (w.shape[1], w.shape[2]), dy.shape[3], w.shape[3])


def _grad_input_layer(op: Conv2DGradInput, dy: Spec, w: Spec) -> winograd.Layer:
    return transposed_layer(op, dy.shape, op.infer(dy, w).shape)


def _grad_input_winograd_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    return winograd.convolve_scratch(_grad_input_layer(op, dy, w))


def _grad_input_winograd_form(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    return winograd.transformed_weights(w.shape[0], w.shape[3])


def _transform_flipped(op: Conv2DGradInput, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    winograd.transform_flipped_weights(w.reshape(-1), w.shape[0], w.shape[3], *packed)


def _grad_input_winograd_cost(op: Conv2DGradInput, once: bool, dy: Spec, w: Spec) -> float:
    return winograd.cost(_grad_input_layer(op, dy, w), once)


@kernel(
    Conv2DGradInput,
    "cpu",
    algorithm="winograd 4x4",
    approximate=True,
    when=_grad_input_is_winograd,
    scratch=_grad_input_winograd_scratch,
    packing=Packing(1, _grad_input_winograd_form, _transform_flipped),
    cost=_grad_input_winograd_cost,
)
def conv2d_grad_input_winograd(
    op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...], packed: tuple[Array, ...]
) -> None:
    nothing = packed[0][:0]
    layer = transposed_layer(op, dy.shape, out.shape)
    winograd.convolve(dy, layer, packed[0], out, scratch[0], nothing, nothing, LIMITS[None])


class _Axis:
    """The rows (or columns) p = phase + i · stride of an input gradient, and the taps that met them.

    Tap t met position p at output (p + before - t · dilation) / stride. Of the taps that divide evenly, each next one
    reads an output a fixed step earlier, so the phase is a convolution of dy in its own right.
    """

    def __init__(self, phase: int, extent: int, taps: int, stride: int, before: int, dilation: int) -> None:
        met = [t for t in range(taps) if (phase + before - t * dilation) % stride == 0]
        outputs = [(phase + before - t * dilation) // stride for t in met]
        self.phase = phase
        self.cells = len(range(phase, extent, stride))
        self.taps = met[::-1]
        self.first = min(outputs, default=0)
        self.dilation = outputs[0] - outputs[1] if len(outputs) > 1 else 1


class _Phase(NamedTuple):
    """The pixels of an input gradient that have the same remainder by the stride."""

    window: Window
    """What they see of dy."""
    grid: Grid
    starts: Array
    """Where the weights of the taps that met them start, in the order in which dy is seen."""


@lru_cache(GEOMETRIES)
def phases_of(op: Conv2DGradInput, dy: tuple[int, ...], w: tuple[int, ...], group: int) -> list[_Phase]:
    (n, p, q, k), (_, r, s, channels) = dy, w
    pads = resolve_padding(op.padding, op.input_size, (r, s), op.stride, op.dilation)
    rows, columns = (
        [
            _Axis(phase, op.input_size[axis], (r, s)[axis], op.stride[axis], pads[axis][0], op.dilation[axis])
            for phase in range(min(op.stride[axis], op.input_size[axis]))
        ]
        for axis in (0, 1)
    )
    depth = k // op.groups
    phases = []
    for row in rows:
        for column in columns:
            taps, cells, first = (len(row.taps), len(column.taps)), (row.cells, column.cells), (row.first, column.first)
            steps = (row.dilation, column.dilation)
            window = Window(p, q, k, group * depth, depth, *taps, 1, 1, *first, *steps, *cells)
            if (taps, cells, first, op.stride, op.groups) == ((1, 1), (p, q), (0, 0), (1, 1), 1):
                window = whole_rows(n * p * q, k)
            grid = Grid(*op.input_size, channels * op.groups, group * channels, row.phase, column.phase, *op.stride)
            chosen = np.array([i * s + j for i in row.taps for j in column.taps], np.int64)
            phases.append(_Phase(window, grid, (group * depth * r * s + chosen) * channels))
    return phases


def grad_input_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    """What the largest phase needs."""
    rows = Spec((threads(), 0))
    for window, _, starts in phases_of(op, dy.shape, w.shape, 0):
        if len(starts):
            images = dy.elements // (window.height * window.width * window.channels)
            rows = max(rows, product_scratch(images, window, w.shape[3]), key=lambda spec: spec.shape[1])
    return (rows,)


def grad_input_form(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    """The weights of each phase of each group."""
    return tuple(
        Spec((packed_size(phase.window.size, w.shape[3]) if len(phase.starts) else 0,))
        for group in range(op.groups)
        for phase in phases_of(op, dy.shape, w.shape, group)
    )


def pack_phases(op: Conv2DGradInput, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    """Fill the forms of `grad_input_form` from w (k, r, s, c / groups)."""
    k, r, s, channels = w.shape
    forms = iter(packed)
    for group in range(op.groups):
        for phase in phases_of(op, inputs[0].shape, w.shape, group):
            form = next(forms)
            if len(phase.starts):
                pack_rows(w.reshape(-1), phase.starts, k // op.groups, channels, r * s * channels, form)


def grad_input_cost(op: Conv2DGradInput, once: bool, dy: Spec, w: Spec) -> float:
    """Estimate the seconds of all phases."""
    rows, depth = dy.elements // dy.shape[3], w.elements // w.shape[3]
    # Rows are spread over the phases of the stride, which on the whole see each weight once.
    phases = op.stride[0] * op.stride[1]
    return product_cost(rows * phases, depth // phases, w.shape[3], once)


def _grad_input_is_matrix(op: Conv2DGradInput, dy: Spec, w: Spec) -> bool:
    phases = phases_of(op, dy.shape, w.shape, 0)
    return op.groups == 1 and len(phases) == 1 and is_matrix(phases[0].window, 1)


def _grad_input_matrix_cost(op: Conv2DGradInput, once: bool, dy: Spec, w: Spec) -> float:
    return matrix_cost(dy.elements // dy.shape[3], dy.shape[3], w.shape[3], once)


@kernel(
    Conv2DGradInput,
    "cpu",
    algorithm="in place",
    when=_grad_input_is_matrix,
    packing=Packing(1, grad_input_form, pack_phases),
    cost=_grad_input_matrix_cost,
    binds=True,
)
def conv2d_grad_input_in_place(
    op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, packed: tuple[Array, ...]
) -> Call:
    nothing, depth = packed[0][:0], dy.shape[3]
    return multiply_matrix(dy, dy.size // depth, depth, packed[0], w.shape[3], out, nothing, nothing, LIMITS[None])


@kernel(
    Conv2DGradInput,
    "cpu",
    algorithm="patches",
    scratch=grad_input_scratch,
    packing=Packing(1, grad_input_form, pack_phases),
    cost=grad_input_cost,
)
def conv2d_grad_input(
    op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...], packed: tuple[Array, ...]
) -> None:
    """One convolution of dy, with some of the weights, for each phase of the stride."""
    nothing = scratch[0][0, :0]
    forms = iter(packed)
    for group in range(op.groups):
        phases = phases_of(op, dy.shape, w.shape, group)
        if group == 0 and not all(len(phase.starts) for phase in phases):
            out.fill(0)
        for window, grid, starts in phases:
            form = next(forms)
            if len(starts):
                multiply_window(dy, window, form, w.shape[3], out, grid, scratch[0], nothing, nothing, LIMITS[None])


def _grad_weight_is_winograd(op: Conv2DGradWeight, dy: Spec, x: Spec) -> bool:
    return winograd_applies(op, op.kernel_size, x.shape[3], dy.shape[3])


def _grad_weight_winograd_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return winograd.weight_gradient_scratch(winograd_layer(op, x.shape, dy.shape))


def _grad_weight_winograd_cost(op: Conv2DGradWeight, once: bool, dy: Spec, x: Spec) -> float:
    return winograd.weight_gradient_cost(winograd_layer(op, x.shape, dy.shape))


@kernel(
    Conv2DGradWeight,
    "cpu",
    algorithm="winograd 4x4",
    approximate=True,
    when=_grad_weight_is_winograd,
    scratch=_grad_weight_winograd_scratch,
    cost=_grad_weight_winograd_cost,
)
def conv2d_grad_weight_winograd(
    op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> None:
    winograd.weight_gradient(dy, x, winograd_layer(op, x.shape, dy.shape), out, scratch)


def _grad_weight_sums(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[int, int, Window]:
    """The outputs of a group, the pixels that are summed over, and what each sees of x."""
    n, p, q, k = dy.shape
    return k // op.groups, n * p * q, window_of(op, x.shape, op.kernel_size, (p, q))


def _grad_weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return weight_gradient_scratch(*_grad_weight_sums(op, dy, x))


def _grad_weight_cost(op: Conv2DGradWeight, once: bool, dy: Spec, x: Spec) -> float:
    return op.groups * weight_gradient_cost(*_grad_weight_sums(op, dy, x))


@kernel(Conv2DGradWeight, "cpu", algorithm="patches", scratch=_grad_weight_scratch, cost=_grad_weight_cost)
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]) -> None:
    p, q, k = dy.shape[1:]
    outputs, depth = k // op.groups, out.size // k
    for group in range(op.groups):
        window = window_of(op, x.shape, op.kernel_size, (p, q), group)
        weight_gradient(dy, group * outputs, outputs, x, window, out, group * outputs * depth, scratch)
