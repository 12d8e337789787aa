"""Losses: a row an example."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.channels import computed
from edge_sdk.kernels.gpu.launch import for_each, launch, nothing, number, sequence
from edge_sdk.ops.loss import (
    HuberLoss,
    L1Loss,
    MeanSquaredError,
    RegressionLossGrad,
    SigmoidCrossEntropy,
    SigmoidCrossEntropyGrad,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from edge_sdk.spec import Array, Spec

THREADS = 256
WARP = 32
SHORT = 1024
"""The most numbers of a row that one warp goes through."""
BLOCKS, PART = 512, 4096
"""Blocks that fill a GPU, and the least numbers of a part of a long row."""


def _rows_by_warps(rows: int) -> tuple[int, int, int]:
    return -(-rows * WARP // THREADS), 1, 1


def _softmax(kernel: str, logits: Array, label: Array, smoothing: float, *arrays: Array) -> Call:
    """The launch of one of the SOFTMAX_LOSSES: a warp a row where there are few classes, else a block."""
    rows, classes = logits.shape
    if not logits.size:
        return nothing()
    dtype, by_warps = logits.dtype.name, classes <= SHORT
    grid = _rows_by_warps(rows) if by_warps else (rows, 1, 1)
    name = f"{kernel}_{label.dtype.name}_{'warp' if by_warps else 'block'}"
    settings = number(smoothing, dtype), np.int32(classes), np.int64(rows)
    return launch("loss", name, grid, (THREADS, 1, 1), *arrays, logits, label, *settings, dtype=dtype)


@kernel(SoftmaxCrossEntropy, "gpu", binds=True)
def softmax_cross_entropy(op: SoftmaxCrossEntropy, out: Array, logits: Array, label: Array) -> Call:
    return _softmax("softmax_loss", logits, label, op.label_smoothing, out)


@kernel(SoftmaxCrossEntropyGrad, "gpu", binds=True)
def softmax_cross_entropy_grad(
    op: SoftmaxCrossEntropyGrad, out: Array, dloss: Array, logits: Array, label: Array
) -> Call:
    return _softmax("softmax_loss_gradient", logits, label, op.label_smoothing, out, dloss)


def _length(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:])


def _part_count(shape: tuple[int, ...]) -> int:
    """Into how many parts each row is cut, one block each; 0 where a warp goes through a row."""
    length = _length(shape)
    if length <= SHORT:
        return 0
    return max(min(-(-BLOCKS // max(shape[0], 1)), length // PART), 1)


def _parts(op: object, x: Spec, target: Spec) -> tuple[Spec, ...]:
    return (Spec((x.shape[0], _part_count(x.shape)), computed(x)),)


def _row_loss(kind: str, out: Array, x: Array, target: Array, scratch: tuple[Array, ...], delta: float = 0) -> Call:
    """The mean of each row, in two launches where rows are long."""
    rows, length, count, dtype = x.shape[0], _length(x.shape), _part_count(x.shape), x.dtype.name
    if not rows:
        return nothing()
    sizes, divisor, block = (np.int64(length), np.int64(rows)), number(length, dtype), (THREADS, 1, 1)
    given, grid = (x, target, number(delta, dtype)), _rows_by_warps(rows)
    if not count:
        return launch("loss", f"{kind}_warp", grid, block, out, *given, divisor, *sizes, dtype=dtype)
    parts, whole = scratch[0], number(1, dtype)
    return sequence((
        launch("loss", f"{kind}_parts", (rows, count, 1), block, parts, *given, whole, *sizes, dtype=dtype),
        launch("loss", "finish_rows", grid, block, out, parts, divisor, np.int32(count), np.int64(rows), dtype=dtype),
    ))  # fmt: skip


@kernel(SigmoidCrossEntropy, "gpu", scratch=_parts, binds=True)
def sigmoid_cross_entropy(
    op: SigmoidCrossEntropy, out: Array, logits: Array, target: Array, *, scratch: tuple[Array, ...]
) -> Call:
    return _row_loss("sigmoid", out, logits, target, scratch)


@kernel(MeanSquaredError, "gpu", scratch=_parts, binds=True)
def mean_squared_error(
    op: MeanSquaredError, out: Array, prediction: Array, target: Array, *, scratch: tuple[Array, ...]
) -> Call:
    return _row_loss("squared", out, prediction, target, scratch)


@kernel(L1Loss, "gpu", scratch=_parts, binds=True)
def l1_loss(op: L1Loss, out: Array, prediction: Array, target: Array, *, scratch: tuple[Array, ...]) -> Call:
    return _row_loss("absolute", out, prediction, target, scratch)


@kernel(HuberLoss, "gpu", scratch=_parts, binds=True)
def huber_loss(op: HuberLoss, out: Array, prediction: Array, target: Array, *, scratch: tuple[Array, ...]) -> Call:
    return _row_loss("huber", out, prediction, target, scratch, op.delta)


def _gradient(kind: str, out: Array, dloss: Array, x: Array, target: Array, delta: float = 0) -> Call:
    dtype = x.dtype.name
    settings = number(delta, dtype), np.int64(_length(x.shape))
    return for_each("loss", f"{kind}_gradient", x.size, out, dloss, x, target, *settings, dtype=dtype)


@kernel(SigmoidCrossEntropyGrad, "gpu", binds=True)
def sigmoid_cross_entropy_grad(
    op: SigmoidCrossEntropyGrad, out: Array, dloss: Array, logits: Array, target: Array
) -> Call:
    return _gradient("sigmoid", out, dloss, logits, target)


@kernel(RegressionLossGrad, "gpu", binds=True)
def regression_loss_grad(op: RegressionLossGrad, out: Array, dloss: Array, prediction: Array, target: Array) -> Call:
    return _gradient(op.kind, out, dloss, prediction, target, op.delta)
