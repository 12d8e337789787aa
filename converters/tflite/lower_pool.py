"""Lowering of pools."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.flatfile import TensorId
from edge_sdk.converters.tflite.lowering import Lowering, lower, shape_of
from edge_sdk.converters.tflite.options import PadV2Options, Pool2DOptions, ReducerOptions, ReshapeOptions
from edge_sdk.converters.tflite.schema import Builtin, Padding
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.ops.geometry import image_size, resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D


@lower(MaxPool2D)
def max_pool2d(t: Lowering, node: Node, op: MaxPool2D) -> None:
    """MAX_POOL_2D; padding that TFLite cannot say, or the ceil rule's, is a PADV2 with the lowest value."""
    x, size = node.inputs[0], image_size(op.name, t.spec(node.inputs[0]))
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    out = t.spec(node.output).shape[1:3]
    # What the last windows reach beyond the image and its leading padding, and no more than that.
    needed = [
        (before, max((cells - 1) * stride + kernel - extent - before, 0))
        for extent, cells, kernel, stride, (before, _) in zip(size, out, op.kernel, op.stride, pads, strict=True)
    ]
    same = list(resolve_padding("same", size, op.kernel, op.stride, (1, 1)))
    if needed == [(0, 0), (0, 0)]:
        source, padding = t.tensor(x), Padding.VALID
    elif needed == same and out == tuple(-(-extent // stride) for extent, stride in zip(size, op.stride, strict=True)):
        source, padding = t.tensor(x), Padding.SAME
    else:
        source, padding = _padded_with_lowest(t, node, needed), Padding.VALID
    options = Pool2DOptions(padding, op.stride[1], op.stride[0], op.kernel[1], op.kernel[0])
    t.emit(Builtin.MAX_POOL_2D, [source], [t.tensor(node.output)], options, int8=t.quantized(x))


def _padded_with_lowest(t: Lowering, node: Node, pads: list[tuple[int, int]]) -> TensorId:
    x = node.inputs[0]
    n, h, w, c = t.spec(x).shape
    padded = t.between(x, (n, h + sum(pads[0]), w + sum(pads[1]), c))
    spec = t.spec(x)
    lowest = np.array(-128, np.int8) if t.quantized(x) else np.array(np.finfo(np.float32).min, np.float32)
    inputs = [
        t.tensor(x),
        t.constant(np.array([(0, 0), *pads, (0, 0)], np.int32)),
        t.constant(lowest, quant=spec.quant),
    ]
    t.emit(Builtin.PADV2, inputs, [padded], PadV2Options(), int8=t.quantized(x))
    return padded


@lower(AvgPool2D)
def avg_pool2d(t: Lowering, node: Node, op: AvgPool2D) -> None:
    """AVERAGE_POOL_2D, which does not count padding; other padding than SAME's has no form."""
    x, size = node.inputs[0], image_size(op.name, t.spec(node.inputs[0]))
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    out = t.spec(node.output).shape[1:3]
    plain = tuple((extent - k) // s + 1 for extent, k, s in zip(size, op.kernel, op.stride, strict=True))
    if pads == ((0, 0), (0, 0)) and out == plain:
        padding = Padding.VALID
    elif not op.count_padding and pads == resolve_padding("same", size, op.kernel, op.stride, (1, 1)):
        padding = Padding.SAME
    else:
        raise ExportError(
            f".tflite has no average pool with padding {op.padding} and the ceil or count rule ({node.output})"
        )
    options = Pool2DOptions(padding, op.stride[1], op.stride[0], op.kernel[1], op.kernel[0])
    t.emit(Builtin.AVERAGE_POOL_2D, [t.tensor(x)], [t.tensor(node.output)], options, int8=t.quantized(x))


@lower(AdaptiveAvgPool2D)
def adaptive_avg_pool2d(t: Lowering, node: Node, op: AdaptiveAvgPool2D) -> None:
    """AVERAGE_POOL_2D where the grid divides the image; a RESHAPE, which moves nothing, where it is the image."""
    x, size = node.inputs[0], image_size(op.name, t.spec(node.inputs[0]))
    if size == op.size:
        shape = shape_of(t.spec(x))
        inputs = [t.tensor(x), t.constant(np.array(shape, np.int32))]
        t.emit(Builtin.RESHAPE, inputs, [t.tensor(node.output)], ReshapeOptions(shape))
        return
    if any(extent % cells for extent, cells in zip(size, op.size, strict=True)):
        raise ExportError(
            f".tflite has no adaptive average pool from {size} to {op.size} ({node.output}); "
            "choose an image size whose features the grid divides"
        )
    h, w = (extent // cells for extent, cells in zip(size, op.size, strict=True))
    options = Pool2DOptions(Padding.VALID, w, h, w, h)
    t.emit(Builtin.AVERAGE_POOL_2D, [t.tensor(x)], [t.tensor(node.output)], options, int8=t.quantized(x))


@lower(GlobalAvgPool)
def global_avg_pool(t: Lowering, node: Node, op: GlobalAvgPool) -> None:
    """MEAN over height and width."""
    inputs = [t.tensor(node.inputs[0]), t.constant(np.array([1, 2], np.int32))]
    t.emit(
        Builtin.MEAN, inputs, [t.tensor(node.output)], ReducerOptions(keep_dims=False), int8=t.quantized(node.output)
    )
