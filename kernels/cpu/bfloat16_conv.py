"""Convolutions whose factors may be rounded to bfloat16, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.bfloat16_gemm import (
    multiply_window,
    pack_columns,
    pack_rows,
    packed_size,
    product_cost,
    product_scratch,
)
from edge_sdk.kernels.cpu.bfloat16_weight_gradient import weight_gradient, weight_gradient_scratch
from edge_sdk.kernels.cpu.conv_geometry import Dense, whole_grid, window_of
from edge_sdk.kernels.cpu.conv_gradients import phases_of
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.jit import threads
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.kernels.cpu.simd_bfloat16 import HAS_BFLOAT16
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.spec import Array, Spec


def _applies(op: Dense, *_: Spec) -> bool:
    return HAS_BFLOAT16 and op.precision == "bfloat16" and op.groups == 1


def _forward_window(op: Conv2D, x: Spec, w: Spec) -> tuple[int, Window, int]:
    """How many images, what an output sees of them, and the outputs."""
    _, p, q, k = op.infer_outputs((x, w))[0].shape
    window = window_of(op, x.shape, (w.shape[1], w.shape[2]), (p, q))
    return x.elements // (window.height * window.width * window.channels), window, k


def _forward_scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (product_scratch(*_forward_window(op, x, w)),)


def _forward_form(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((packed_size(w.elements // w.shape[0], w.shape[0]),)),)


def _pack_weights(op: Conv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    pack_columns(w.reshape(-1), w.shape[0], w.size // w.shape[0], packed[0])


def _forward_cost(op: Conv2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    images, window, outputs = _forward_window(op, x, w)
    return product_cost(images * window.outputs, window.size, outputs, once)


@kernel(
    Conv2D,
    "cpu",
    algorithm="bfloat16 patches",
    when=_applies,
    scratch=_forward_scratch,
    packing=Packing(1, _forward_form, _pack_weights),
    cost=_forward_cost,
)
def conv2d(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    _, p, q, k = out.shape
    nothing = packed[0][:0]
    multiply_window(
        x, window_of(op, x.shape, w.shape[1:3], (p, q)), packed[0], k, out, whole_grid(out.shape, 0), scratch[0],
        nothing if b is None else b, nothing if residual is None else residual, LIMITS[op.activation],
    )  # fmt: skip


def _grad_input_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    rows = Spec((threads(), 0))
    for window, _, starts in phases_of(op, dy.shape, w.shape, 0):
        if len(starts):
            images = dy.elements // (window.height * window.width * window.channels)
            rows = max(rows, product_scratch(images, window, w.shape[3]), key=lambda spec: spec.shape[1])
    return (rows,)


def _grad_input_form(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    """The weights of each phase of the stride."""
    phases = phases_of(op, dy.shape, w.shape, 0)
    return tuple(Spec((packed_size(p.window.size, w.shape[3]) if len(p.starts) else 0,)) for p in phases)


def _pack_phases(op: Conv2DGradInput, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    k, r, s, channels = w.shape
    for form, phase in zip(packed, phases_of(op, inputs[0].shape, w.shape, 0), strict=True):
        if len(phase.starts):
            pack_rows(w.reshape(-1), phase.starts, k, channels, r * s * channels, form)


def _grad_input_cost(op: Conv2DGradInput, once: bool, dy: Spec, w: Spec) -> float:
    rows, depth = dy.elements // dy.shape[3], w.elements // w.shape[3]
    # Rows are spread over the phases of the stride, which on the whole see each weight once.
    phases = op.stride[0] * op.stride[1]
    return product_cost(rows * phases, depth // phases, w.shape[3], once)


@kernel(
    Conv2DGradInput,
    "cpu",
    algorithm="bfloat16 patches",
    when=_applies,
    scratch=_grad_input_scratch,
    packing=Packing(1, _grad_input_form, _pack_phases),
    cost=_grad_input_cost,
)
def conv2d_grad_input(
    op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...], packed: tuple[Array, ...]
) -> None:
    """One convolution of dy, with some of the weights, for each phase of the stride."""
    nothing = packed[0][:0]
    phases = phases_of(op, dy.shape, w.shape, 0)
    if not all(len(phase.starts) for phase in phases):
        out.fill(0)
    for form, (window, grid, starts) in zip(packed, phases, strict=True):
        if len(starts):
            multiply_window(dy, window, form, w.shape[3], out, grid, scratch[0], nothing, nothing, LIMITS[None])


def _grad_weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    n, p, q, k = dy.shape
    return weight_gradient_scratch(k, n * p * q, window_of(op, x.shape, op.kernel_size, (p, q)))


@kernel(Conv2DGradWeight, "cpu", algorithm="bfloat16 patches", when=_applies, scratch=_grad_weight_scratch)
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]) -> None:
    _, p, q, k = dy.shape
    weight_gradient(dy, 0, k, x, window_of(op, x.shape, op.kernel_size, (p, q)), out, 0, scratch)
