"""Convolutions and dense layers of 16-bit numbers: matrix products of their halves on what every output sees."""

from __future__ import annotations

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu import int8_conv_transpose as transposed
from edge_sdk.kernels.cpu.conv_geometry import window_of
from edge_sdk.kernels.cpu.int8_conv import conv_form, linear_form, pack_conv, pack_linear, windows
from edge_sdk.kernels.cpu.int16_gemm import DEEPEST, halves_scratch, multiply_window, product_scratch, split
from edge_sdk.kernels.cpu.patches import whole_rows
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.ops.linear import Linear
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling, without_residual
from edge_sdk.spec import Array, Spec


def _is_shallow(op: Conv2D | ConvTranspose2D | Linear, x: Spec, w: Spec, *more: Spec) -> bool:
    """Tell whether the sums of both halves stay within 32 bits."""
    return w.elements // w.shape[0] <= DEEPEST and without_residual(op, x, w, *more)


def _start(starts: Array, b: Array | None) -> Array:
    """What is added to every channel's sum."""
    starts[...] = 0 if b is None else b
    return starts


def _conv_scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (*halves_scratch(x), product_scratch(*windows(op, x, w)), Spec((w.shape[0],), "int64"))


@kernel(
    Conv2D,
    "cpu",
    algorithm="halves",
    quantized="int16",
    constants=product_rescaling,
    when=_is_shallow,
    scratch=_conv_scratch,
    packing=Packing(1, conv_form, pack_conv),
)
def conv2d(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    _, p, q, k = out.shape
    upper, lower, panels, starts = scratch
    split(x.reshape(-1), upper, lower)
    outputs = k // op.groups
    for group in range(op.groups):
        window = window_of(op, x.shape, w.shape[1:3], (p, q), group)
        multiply_window(
            (upper, lower), window, packed[0][group], packed[1][group], outputs, out, group * outputs, panels,
            _start(starts, b), constants,
        )  # fmt: skip


def _linear_scratch(op: Linear, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    panels = product_scratch(1, whole_rows(*x.shape), w.shape[0])
    return (*halves_scratch(x), panels, Spec((w.shape[0],), "int64"))


@kernel(
    Linear,
    "cpu",
    algorithm="halves",
    quantized="int16",
    constants=product_rescaling,
    when=_is_shallow,
    scratch=_linear_scratch,
    packing=Packing(1, linear_form, pack_linear),
)
def linear(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    upper, lower, panels, starts = scratch
    weights, offsets = packed
    split(x.reshape(-1), upper, lower)
    window = whole_rows(*x.shape)
    multiply_window(
        (upper, lower), window, weights, offsets, w.shape[0], out, 0, panels, _start(starts, b), constants
    )  # fmt: skip


def _transposed_scratch(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    out = op.infer_outputs((x, w))[0].shape
    window = transposed.spread_window(op, w.shape, out, x.shape[3], 0)
    spread = Spec((x.shape[0], window.height, window.width, x.shape[3]), "int16")
    panels = product_scratch(x.shape[0], window, w.shape[0] // op.groups)
    return (spread, *halves_scratch(spread), panels, Spec((w.shape[0],), "int64"))


@kernel(
    ConvTranspose2D,
    "cpu",
    algorithm="halves",
    quantized="int16",
    constants=product_rescaling,
    when=_is_shallow,
    scratch=_transposed_scratch,
    packing=Packing(1, transposed.form, transposed.pack),
)
def conv_transpose2d(
    op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    spread, upper, lower, panels, starts = scratch
    transposed.spread_apart(op, x, w.shape, spread, 0)
    split(spread.reshape(-1), upper, lower)
    outputs = w.shape[0] // op.groups
    for group in range(op.groups):
        window = transposed.spread_window(op, w.shape, out.shape, x.shape[3], group)
        multiply_window(
            (upper, lower), window, packed[0][group], packed[1][group], outputs, out, group * outputs, panels,
            _start(starts, b), constants,
        )  # fmt: skip
