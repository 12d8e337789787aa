"""Pools. Partial windows become padding at the far end, which runtimes agree on, unlike on ceil_mode."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.onnx_graph import Written
from edge_sdk.converters.onnx.writing import Writing, writes
from edge_sdk.graph import Node
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.spec import Array

Pads = tuple[Pair, Pair]


@writes(MaxPool2D)
def max_pool2d(t: Writing, op: MaxPool2D, node: Node) -> None:
    """MaxPool, whose padding never wins."""
    x, y = t.image(node.inputs[0]), t.declare_image(node.output)
    _, reached = _pads(op, x, y)
    _check_pads(t, node, op.kernel, reached)
    t.emit("MaxPool", [x], y, **_window(op.kernel, op.stride, reached))


@writes(AvgPool2D)
def avg_pool2d(t: Writing, op: AvgPool2D, node: Node) -> None:
    """AveragePool; where padding counts and what partial windows reach beyond it does not, behind a Pad."""
    x, y = t.image(node.inputs[0]), t.declare_image(node.output)
    pads, reached = _pads(op, x, y)
    counted = op.count_padding and any(map(any, pads))
    if counted and reached != pads:
        (top, bottom), (left, right) = pads
        n, h, w, c = x.spec.shape
        larger = x.spec.with_shape((n, h + top + bottom, w + left + right, c))
        padded = t.temporary(f"{y.name}/padded", x.layout, larger)
        t.emit("Pad", [x, t.integers((0, 0, top, left, 0, 0, bottom, right)), t.number(0.0, x)], padded)
        rest = ((0, reached[0][1] - bottom), (0, reached[1][1] - right))
        x, reached, counted = padded, rest, False
    _check_pads(t, node, op.kernel, reached)
    t.emit("AveragePool", [x], y, count_include_pad=int(counted), **_window(op.kernel, op.stride, reached))


@writes(AdaptiveAvgPool2D)
def adaptive_avg_pool2d(t: Writing, op: AdaptiveAvgPool2D, node: Node) -> None:
    """Nothing where the size fits, GlobalAveragePool, AveragePool where it divides the image; else two MatMuls."""
    size = t.spec(node.inputs[0]).shape[1:3]
    if size == op.size:
        t.alias(node.output, node.inputs[0])
        return
    x, y = t.image(node.inputs[0]), t.declare_image(node.output)
    if op.size == (1, 1):
        t.emit("GlobalAveragePool", [x], y)
    elif size[0] % op.size[0] == 0 and size[1] % op.size[1] == 0:
        kernel = (size[0] // op.size[0], size[1] // op.size[1])
        t.emit("AveragePool", [x], y, **_window(kernel, kernel, ((0, 0), (0, 0))))
    else:
        # (n, c, h, w) times (w, columns), then (rows, h) times that.
        n, h, _, c = x.spec.shape
        rows, columns = (_bands(s, m).astype(x.spec.numpy_dtype) for s, m in zip(size, op.size, strict=True))
        narrow = t.temporary(f"{y.name}/columns", x.layout, x.spec.with_shape((n, h, op.size[1], c)))
        t.emit("MatMul", [x, t.numbers(np.ascontiguousarray(columns.T))], narrow)
        t.emit("MatMul", [t.numbers(rows), narrow], y)


@writes(GlobalAvgPool)
def global_avg_pool(t: Writing, op: GlobalAvgPool, node: Node) -> None:
    """GlobalAveragePool and Flatten."""
    x = t.image(node.inputs[0])
    n, _, _, c = x.spec.shape
    mean = t.temporary(f"{node.output}/pixel", x.layout, x.spec.with_shape((n, 1, 1, c)))
    y = t.declare(node.output, plain(2))
    t.emit("GlobalAveragePool", [x], mean)
    t.emit("Flatten", [mean], y, axis=1)


def _pads(op: MaxPool2D | AvgPool2D, x: Written, y: Written) -> tuple[Pads, Pads]:
    """The operator's own padding, and with what the last windows reach beyond it."""
    size = (x.spec.shape[1], x.spec.shape[2])
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    ends = [
        max(after, (count - 1) * s + k - extent - before)
        for extent, (before, after), k, s, count in zip(
            size, pads, op.kernel, op.stride, y.spec.shape[1:3], strict=True
        )
    ]
    return pads, ((pads[0][0], ends[0]), (pads[1][0], ends[1]))


def _check_pads(t: Writing, node: Node, kernel: Pair, pads: Pads) -> None:
    if any(max(pair) >= k for pair, k in zip(pads, kernel, strict=True)):
        raise t.no_form(
            node, f"with padding {pads} of the kernel's size {kernel} or more, which ONNX's runtimes refuse"
        )


def _window(kernel: Pair, stride: Pair, pads: Pads) -> dict[str, list[int]]:
    (top, bottom), (left, right) = pads
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": [top, left, bottom, right]}


def _bands(extent: int, count: int) -> Array:
    """(count, extent): the mean of floor(i · extent / count) to ceil((i + 1) · extent / count) as weights."""
    matrix = np.zeros((count, extent))
    for i in range(count):
        first, last = i * extent // count, -(-(i + 1) * extent // count)
        matrix[i, first:last] = 1 / (last - first)
    return matrix
