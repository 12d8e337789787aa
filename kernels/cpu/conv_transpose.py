"""Transposed convolutions: the kernels of the input gradients of convolutions, with a bias and an activation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from edge_sdk.kernel import Call, Packing, kernel
from edge_sdk.kernels.cpu.conv_geometry import GEOMETRIES
from edge_sdk.kernels.cpu.conv_gradients import (
    grad_input_cost,
    grad_input_form,
    grad_input_scratch,
    pack_phases,
    phases_of,
)
from edge_sdk.kernels.cpu.depthwise import sum_taps
from edge_sdk.kernels.cpu.depthwise_conv import backward_tables
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.gemm import multiply_window
from edge_sdk.ops.conv import Conv2DGradInput, ConvTranspose2D, DepthwiseConv2DGradInput
from edge_sdk.ops.geometry import Pair
from edge_sdk.spec import Array, Spec


@lru_cache(GEOMETRIES)
def _way_back(op: ConvTranspose2D, size: Pair) -> Conv2DGradInput:
    """The input gradient with results of `size` that is the same sum."""
    return Conv2DGradInput(op.stride, op.padding, op.dilation, op.groups, size)


def _as_gradient(op: ConvTranspose2D, x: Spec, w: Spec) -> tuple[Conv2DGradInput, Spec, Spec]:
    """That gradient, and the specs of its dy and its weights (c, r, s, k / groups)."""
    _, p, q, k = op.infer_outputs((x, w))[0].shape
    return _way_back(op, (p, q)), x, Spec((x.shape[3], w.shape[1], w.shape[2], k // op.groups))


def _is_depthwise(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> bool:
    return op.groups == x.shape[3] == w.shape[0]


def _depthwise_form(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (Spec((w.elements,)),)


def _pack_depthwise(op: ConvTranspose2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    """(c, r, s, 1) → (r, s, c)."""
    np.copyto(packed[0].reshape(*w.shape[1:3], w.shape[0]), w[..., 0].transpose(1, 2, 0))


@kernel(
    ConvTranspose2D,
    "cpu",
    algorithm="depthwise",
    when=_is_depthwise,
    packing=Packing(1, _depthwise_form, _pack_depthwise),
    binds=True,
)
def conv_transpose2d_depthwise(
    op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None, *, packed: tuple[Array, ...]
) -> Call:
    (n, h, wide, channels), (_, p, q, _) = x.shape, out.shape
    gradient = DepthwiseConv2DGradInput(op.stride, op.padding, op.dilation, (p, q), channels)
    tables = backward_tables(gradient, (p, q), w.shape[1:3], (h, wide))
    weights = packed[0]
    where: tuple[Any, ...] = (*tables, *LIMITS[op.activation], 1 if op.stride[1] == 1 else 0)
    return sum_taps(
        x.reshape(-1), weights, weights[:0] if b is None else b, out.reshape(-1), n, (h, wide), channels, w.shape[2],
        *where,
    )  # fmt: skip


def _scratch(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return grad_input_scratch(*_as_gradient(op, x, w))


def _form(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    """The weights (c, r, s, k / groups), and from them those of each phase of each group."""
    gradient = _as_gradient(op, x, w)
    return (gradient[2], *grad_input_form(*gradient))


def _pack(op: ConvTranspose2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    turned, *phases = packed
    (k, r, s, c), groups = w.shape, op.groups
    by_group = w.reshape(groups, k // groups, r, s, c).transpose(0, 4, 2, 3, 1)
    np.copyto(turned.reshape(groups, c, r, s, k // groups), by_group)
    gradient, dy, weights = _as_gradient(op, *inputs[:2])
    pack_phases(gradient, tuple(phases), (dy, weights), turned)


def _cost(op: ConvTranspose2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    gradient, dy, weights = _as_gradient(op, x, w)
    return grad_input_cost(gradient, once, dy, weights)


@kernel(ConvTranspose2D, "cpu", algorithm="patches", scratch=_scratch, packing=Packing(1, _form, _pack), cost=_cost)
def conv_transpose2d(
    op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    """One convolution of x, with some of the weights, for each phase of the stride."""
    _, p, q, k = out.shape
    turned, *phases = packed
    outputs, nothing, limits = k // op.groups, scratch[0][0, :0], LIMITS[op.activation]
    forms = iter(phases)
    for group in range(op.groups):
        first = group * outputs
        bias = nothing if b is None else b[first : first + outputs]
        here = phases_of(_way_back(op, (p, q)), x.shape, turned.shape, group)
        if group == 0 and not all(len(phase.starts) for phase in here):
            out[...] = 0 if b is None else np.clip(b, *limits)
        for window, grid, starts in here:
            form = next(forms)
            if len(starts):
                multiply_window(x, window, form, outputs, out, grid, scratch[0], bias, nothing, limits)
