"""Rows of the convolutions: scipy's correlation and ONNX's Conv are the oracles; padding is stated by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import correlate

from edge_sdk.ops.conv import Conv2D, Conv2DGradInputAdded, DepthwiseConv2D
from edge_sdk.spec import Array
from op_cases.case import Case, normal
from op_cases.onnx_oracle import run_onnx, to_nchw, to_nhwc

Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


def onnx_conv(
    pads: Pads, stride: tuple[int, int], dilation: tuple[int, int], groups: int, limit: float | None = None
) -> Callable[..., Array]:
    """ONNX's Conv with pads (top, left, bottom, right); with a limit its result is clipped to 0 … limit."""

    def oracle(x: Array, w: Array, b: Array | None = None, residual: Array | float = 0.0) -> Array:
        (y,) = run_onnx(
            "Conv", to_nchw(x), to_nchw(w), b, pads=pads, strides=stride, dilations=dilation, group=groups
        )  # fmt: skip
        total = to_nhwc(y) + residual
        return total if limit is None else np.clip(total, 0, limit)

    return oracle


def onnx_depthwise(
    pads: Pads, stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1), limit: float | None = None
) -> Callable[..., Array]:
    def oracle(x: Array, w: Array, b: Array | None = None) -> Array:
        return onnx_conv(pads, stride, dilation, x.shape[3], limit)(x, np.transpose(w, (3, 1, 2, 0)), b)

    return oracle


def _transposed_plus(pads: Pads, stride: tuple[int, int], more: tuple[int, int] = (0, 0)) -> Callable[..., Array]:
    """ONNX's ConvTranspose, whose result is `more` pixels larger than its least size, plus the last input."""

    def oracle(dy: Array, w: Array, other: Array) -> Array:
        (dx,) = run_onnx(
            "ConvTranspose", to_nchw(dy), to_nchw(w), None, pads=pads, strides=stride, output_padding=more
        )  # fmt: skip
        return to_nhwc(dx) + other

    return oracle


def _scipy_correlate(x: Array, w: Array) -> Array:
    planes = [[correlate(image, kernel, mode="valid")[..., 0] for kernel in w] for image in x]
    return np.moveaxis(np.array(planes), 1, 3)


def _kink_free(rows: Array) -> Array:
    """Small inputs keep sums of products off the ends of relu6, which a bias decides per channel instead."""
    return rows * np.float32(0.01)


CASES = [
    Case(
        "conv2d-valid",
        Conv2D(),
        (normal(2, 5, 6, 3), normal(4, 3, 2, 3, seed=1)),
        _scipy_correlate,
        differentiable=(0, 1),
        symbolic_batch=True,
    ),
    Case(
        "conv2d-hand",
        Conv2D(padding=((1, 0), (0, 1))),
        (np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1), np.array([1, 2, 3, 4], np.float32).reshape(1, 2, 2, 1)),
        lambda *_: np.array([[4.0, 3.0], [0 + 2 + 6 + 12, 1 + 9]]).reshape(1, 2, 2, 1),
        differentiable=(0, 1),
    ),
    Case(
        "conv2d-same-odd-pixel-last",
        Conv2D(stride=(2, 2), padding="same"),
        (normal(2, 8, 6, 5), normal(6, 3, 3, 5, seed=1), normal(6, seed=2)),
        onnx_conv((0, 0, 1, 1), (2, 2), (1, 1), 1),
        differentiable=(0, 1, 2),
        symbolic_batch=True,
    ),
    Case(
        "conv2d-stem-7x7",
        Conv2D(stride=(2, 2), padding=((3, 3), (3, 3))),
        (normal(1, 17, 15, 3), normal(20, 7, 7, 3, seed=1)),
        onnx_conv((3, 3, 3, 3), (2, 2), (1, 1), 1),
        differentiable=(0, 1),
    ),
    Case(
        "conv2d-asymmetric-dilated",
        Conv2D(stride=(1, 2), padding=((2, 0), (1, 3)), dilation=(2, 3)),
        (normal(2, 9, 10, 4), normal(3, 3, 2, 4, seed=1), normal(3, seed=2)),
        onnx_conv((2, 1, 0, 3), (1, 2), (2, 3), 1),
        differentiable=(0, 1, 2),
    ),
    Case(
        "conv2d-groups",
        Conv2D(stride=(2, 1), padding=((1, 1), (1, 1)), groups=3),
        (normal(2, 7, 5, 6), normal(9, 3, 3, 2, seed=1), normal(9, seed=2)),
        onnx_conv((1, 1, 1, 1), (2, 1), (1, 1), 3),
        differentiable=(0, 1, 2),
    ),
    Case(
        "conv2d-residual",
        Conv2D(padding=((1, 1), (1, 1))),
        (normal(2, 9, 7, 5), normal(37, 3, 3, 5, seed=1), normal(37, seed=2), normal(2, 9, 7, 37, seed=3)),
        onnx_conv((1, 1, 1, 1), (1, 1), (1, 1), 1),
        differentiable=(0, 1, 2, 3),
    ),
    Case(
        "conv2d-residual-groups-relu",
        Conv2D(stride=(2, 1), groups=2, activation="relu"),
        (
            _kink_free(normal(2, 7, 5, 6)),
            normal(8, 2, 2, 3, seed=1),
            np.array([2, -2, 1, -1, 3, -3, 2, -2], np.float32),
            normal(2, 3, 4, 8, seed=3, scale=0.1),
        ),
        onnx_conv(NO_PADS, (2, 1), (1, 1), 2, np.inf),
        differentiable=(0, 1, 2, 3),
    ),
    Case(
        "conv2d-1x1",
        Conv2D(),
        (normal(3, 9, 11, 40), normal(37, 1, 1, 40, seed=1), normal(37, seed=2)),
        onnx_conv(NO_PADS, (1, 1), (1, 1), 1),
        differentiable=(0, 1, 2),
    ),
    Case(
        "conv2d-1x1-strided",
        Conv2D(stride=(2, 2)),
        (normal(2, 6, 7, 8), normal(5, 1, 1, 8, seed=1)),
        onnx_conv(NO_PADS, (2, 2), (1, 1), 1),
        differentiable=(0, 1),
    ),
    Case(
        "conv2d-1x1-groups",
        Conv2D(groups=2),
        (normal(2, 4, 4, 10), normal(6, 1, 1, 5, seed=1)),
        onnx_conv(NO_PADS, (1, 1), (1, 1), 2),
        differentiable=(0, 1),
    ),
    Case(
        "conv2d-1x1-padded",
        Conv2D(padding=((1, 0), (0, 2))),
        (normal(1, 3, 4, 3), normal(2, 1, 1, 3, seed=1)),
        onnx_conv((1, 0, 0, 2), (1, 1), (1, 1), 1),
        differentiable=(0, 1),
    ),
    Case(
        "conv2d-many-blocks",
        Conv2D(padding="same"),
        (normal(2, 23, 24, 33), normal(70, 3, 3, 33, seed=1), normal(70, seed=2)),
        onnx_conv((1, 1, 1, 1), (1, 1), (1, 1), 1),
    ),
    Case(
        "conv2d-deep-and-tiny",
        Conv2D(padding="same"),
        (normal(1, 2, 3, 300), normal(17, 3, 3, 300, seed=1)),
        onnx_conv((1, 1, 1, 1), (1, 1), (1, 1), 1),
    ),
    Case(
        "conv2d-relu6",
        Conv2D(padding="same", activation="relu6"),
        (_kink_free(normal(2, 4, 5, 6)), normal(4, 3, 3, 6, seed=1), np.array([3, -3, 9, 1], np.float32)),
        onnx_conv((1, 1, 1, 1), (1, 1), (1, 1), 1, limit=6),
        differentiable=(0, 1, 2),
    ),
    Case(
        "conv2d-1x1-relu",
        Conv2D(activation="relu"),
        (_kink_free(normal(2, 4, 5, 6)), normal(3, 1, 1, 6, seed=1), np.array([3, -3, 1], np.float32)),
        onnx_conv(NO_PADS, (1, 1), (1, 1), 1, limit=np.inf),
        differentiable=(0, 1, 2),
    ),
    Case(
        "depthwise-hand",
        DepthwiseConv2D(),
        (
            np.array([[1, 10], [2, 20]], np.float32).reshape(1, 1, 2, 2),
            np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32).reshape(1, 1, 2, 4),
        ),
        # Channel 0 of x, (1, 2), meets outputs 0 and 1; channel 1, (10, 20), meets outputs 2 and 3.
        lambda *_: np.array([1 + 10, 2 + 12, 30 + 140, 40 + 160.0]).reshape(1, 1, 1, 4),
        differentiable=(0, 1),
    ),
    Case(
        "depthwise-3x3-same",
        DepthwiseConv2D(padding="same"),
        (normal(2, 6, 7, 37), normal(1, 3, 3, 37, seed=1), normal(37, seed=2)),
        onnx_depthwise((1, 1, 1, 1)),
        differentiable=(0, 1, 2),
        symbolic_batch=True,
    ),
    Case(
        "depthwise-3x3-stride-2",
        DepthwiseConv2D(stride=(2, 2), padding="same"),
        (normal(2, 8, 6, 16), normal(1, 3, 3, 16, seed=1)),
        onnx_depthwise((0, 0, 1, 1), (2, 2)),
        differentiable=(0, 1),
    ),
    Case(
        "depthwise-5x5-stride-2",
        DepthwiseConv2D(stride=(2, 2), padding=((2, 2), (2, 2))),
        (normal(2, 9, 7, 20), normal(1, 5, 5, 20, seed=1), normal(20, seed=2)),
        onnx_depthwise((2, 2, 2, 2), (2, 2)),
        differentiable=(0, 1, 2),
    ),
    Case(
        "depthwise-asymmetric-dilated",
        DepthwiseConv2D(stride=(1, 2), padding=((3, 0), (1, 2)), dilation=(3, 2)),
        (normal(2, 8, 9, 18), normal(1, 3, 2, 18, seed=1), normal(18, seed=2)),
        onnx_depthwise((3, 1, 0, 2), (1, 2), (3, 2)),
        differentiable=(0, 1, 2),
    ),
    Case(
        "depthwise-multiplier",
        DepthwiseConv2D(stride=(2, 1), padding="same"),
        (normal(2, 5, 6, 3), normal(1, 3, 3, 6, seed=1), normal(6, seed=2)),
        onnx_depthwise((1, 1, 1, 1), (2, 1)),
        differentiable=(0, 1, 2),
    ),
    Case(
        "depthwise-relu6",
        DepthwiseConv2D(padding="same", activation="relu6"),
        (_kink_free(normal(2, 4, 5, 4)), normal(1, 3, 3, 4, seed=1), np.array([3, -3, 9, 1], np.float32)),
        onnx_depthwise((1, 1, 1, 1), limit=6),
        differentiable=(0, 1, 2),
    ),
    Case(
        "conv2d-grad-input-added-matrix",
        Conv2DGradInputAdded((1, 1), "valid", (1, 1), 1, input_size=(7, 5)),
        (normal(2, 7, 5, 20), normal(20, 1, 1, 12, seed=1), normal(2, 7, 5, 12, seed=2)),
        _transposed_plus(NO_PADS, (1, 1)),
    ),
    Case(
        "conv2d-grad-input-added-3x3",
        Conv2DGradInputAdded((1, 1), "same", (1, 1), 1, input_size=(9, 8)),
        (normal(2, 9, 8, 16), normal(16, 3, 3, 16, seed=1), normal(2, 9, 8, 16, seed=2)),
        _transposed_plus((1, 1, 1, 1), (1, 1)),
        tolerance=5e-5,
    ),
    Case(
        "conv2d-grad-input-added-strided",
        Conv2DGradInputAdded((2, 2), "valid", (1, 1), 1, input_size=(6, 8)),
        (normal(2, 3, 4, 7), normal(7, 1, 1, 5, seed=1), normal(2, 6, 8, 5, seed=2)),
        _transposed_plus(NO_PADS, (2, 2), (1, 1)),
    ),
]
