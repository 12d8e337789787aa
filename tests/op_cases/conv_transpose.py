"""Rows of the transposed convolution: ONNX's ConvTranspose is the oracle; padding is stated by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_sdk.ops.conv import ConvTranspose2D
from edge_sdk.spec import Array
from op_cases.case import Case, normal
from op_cases.onnx_oracle import run_onnx, to_nchw, to_nhwc


def _onnx(op: ConvTranspose2D, limit: float | None = None) -> Callable[..., Array]:
    """ONNX's ConvTranspose, whose weights are (c, k / groups, r, s); with a limit its result is clipped to 0 … limit.

    It is asked group by group: the evaluator of onnx 1.23 fails where a group has several outputs.
    """
    (top, bottom), (left, right) = op.padding

    def one_group(x: Array, w: Array, b: Array | None) -> Array:
        (y,) = run_onnx(
            "ConvTranspose", to_nchw(x), w.transpose(3, 0, 1, 2), b, pads=(top, left, bottom, right),
            strides=op.stride, dilations=op.dilation, output_padding=op.output_padding,
        )  # fmt: skip
        return to_nhwc(y) if limit is None else np.clip(to_nhwc(y), 0, limit)

    def oracle(x: Array, w: Array, b: Array | None = None) -> Array:
        biases = [None] * op.groups if b is None else np.split(b, op.groups)
        parts = zip(np.split(x, op.groups, 3), np.split(w, op.groups), biases, strict=True)
        return np.concatenate([one_group(*part) for part in parts], axis=3)

    return oracle


def _case(
    name: str, op: ConvTranspose2D, x: Array, w: Array, b: Array | None = None, limit: float | None = None,
    *, symbolic_batch: bool = False,
) -> Case:  # fmt: skip
    inputs = (x, w) if b is None else (x, w, b)
    differentiable = tuple(range(len(inputs)))
    return Case(
        name, op, inputs, _onnx(op, limit), differentiable=differentiable, symbolic_batch=symbolic_batch
    )  # fmt: skip


CASES = [
    Case(
        "conv-transpose-hand",
        ConvTranspose2D(stride=(2, 2), padding=((0, 1), (0, 0))),
        (
            np.array([[1, 2]], np.float32).reshape(1, 1, 2, 1),
            np.array([[1, 2, 3], [4, 5, 6]], np.float32).reshape(1, 2, 3, 1),
            np.array([10], np.float32),
        ),
        # 1 · (1 2 3) and, two further, 2 · (1 2 3); the second row is cut off.
        lambda *_: np.array([11, 12, 15, 14, 16.0]).reshape(1, 1, 5, 1),
        differentiable=(0, 1, 2),
    ),
    _case(
        "conv-transpose-plain", ConvTranspose2D(), normal(2, 3, 4, 3), normal(5, 3, 2, 3, seed=1), symbolic_batch=True
    ),
    _case(
        "conv-transpose-twice-the-size",
        ConvTranspose2D(stride=(2, 2), padding=((1, 1), (1, 1))),
        normal(2, 4, 5, 6),
        normal(20, 4, 4, 6, seed=1),
        normal(20, seed=2),
        symbolic_batch=True,
    ),
    _case(
        "conv-transpose-2x2",
        ConvTranspose2D(stride=(2, 2)),
        normal(2, 5, 3, 17),
        normal(9, 2, 2, 17, seed=1),
        normal(9, seed=2),
    ),
    _case(
        "conv-transpose-output-padding",
        ConvTranspose2D(stride=(2, 3), padding=((1, 1), (0, 1)), output_padding=(1, 2)),
        normal(2, 3, 4, 5),
        normal(4, 3, 3, 5, seed=1),
        normal(4, seed=2),
        symbolic_batch=True,
    ),
    _case(
        "conv-transpose-kernel-below-stride",
        ConvTranspose2D(stride=(3, 2), output_padding=(1, 0)),
        normal(1, 3, 4, 5),
        normal(3, 2, 1, 5, seed=1),
        normal(3, seed=2),
    ),
    _case(
        "conv-transpose-asymmetric-dilated",
        ConvTranspose2D(stride=(1, 2), padding=((2, 0), (1, 3)), dilation=(2, 3)),
        normal(2, 5, 6, 4),
        normal(3, 3, 2, 4, seed=1),
        normal(3, seed=2),
    ),
    _case(
        "conv-transpose-groups",
        ConvTranspose2D(stride=(2, 1), padding=((1, 1), (1, 0)), groups=3),
        normal(2, 4, 5, 6),
        normal(12, 3, 3, 2, seed=1),
        normal(12, seed=2),
    ),
    _case(
        "conv-transpose-depthwise",
        ConvTranspose2D(stride=(2, 2), padding=((1, 1), (1, 1)), groups=19),
        normal(2, 4, 5, 19),
        normal(19, 4, 4, 1, seed=1),
        normal(19, seed=2),
    ),
    _case(
        "conv-transpose-1x1",
        ConvTranspose2D(),
        normal(2, 4, 3, 20),
        normal(7, 1, 1, 20, seed=1),
        normal(7, seed=2),
    ),
    _case(
        "conv-transpose-relu6",
        ConvTranspose2D(stride=(2, 2), groups=2, activation="relu6"),
        normal(1, 3, 4, 4, scale=0.01),
        normal(4, 1, 3, 2, seed=1),
        np.array([3, -3, 9, 1], np.float32),
        limit=6,
    ),
]
