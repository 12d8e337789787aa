"""Operators that move elements. The open batch is -1 in what RESHAPE and SLICE are given."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.lowering import Lowering, lower
from edge_sdk.converters.tflite.options import (
    BroadcastToOptions,
    CastOptions,
    ConcatenationOptions,
    MulOptions,
    PadOptions,
    PadV2Options,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    SliceOptions,
    SplitOptions,
    SplitVOptions,
    TransposeOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, TensorType
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import (
    BroadcastTo,
    Cast,
    Concat,
    ExpandDims,
    Flatten,
    Pad,
    Reshape,
    Slice,
    Split,
    Squeeze,
    Transpose,
)


@lower(Pad)
def pad(t: Lowering, op: Pad, node: Node) -> None:
    """PAD for zeros, PADV2 for another number."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    amounts = t.constant(f"{y.name}/amounts", np.array(op.paddings, np.int32).reshape(-1, 2))
    if op.value == 0:
        t.emit(Builtin.PAD, [x, amounts], [y], PadOptions())
        return
    value = np.array(op.value)
    if x.spec.quant is not None:
        limits = np.iinfo(x.spec.numpy_dtype)
        value = np.clip(np.rint(value / x.spec.quant.scale[0]) + x.spec.quant.zero_point[0], limits.min, limits.max)
    stored = t.constant(f"{y.name}/value", np.asarray(value, x.spec.numpy_dtype), x.spec.quant)
    t.emit(Builtin.PADV2, [x, amounts, stored], [y], PadV2Options())


@lower(Concat)
def concat(t: Lowering, op: Concat, node: Node) -> None:
    """CONCATENATION."""
    inputs = [t.read(value) for value in node.inputs]
    t.emit(Builtin.CONCATENATION, inputs, [t.declare(node.output)], ConcatenationOptions(axis=op.axis))


@lower(Split)
def split(t: Lowering, op: Split, node: Node) -> None:
    """SPLIT into equal parts, else SPLIT_V."""
    x, parts = t.read(node.inputs[0]), [t.declare(value) for value in node.outputs]
    axis = t.constant(f"{parts[0].name}/axis", np.array(op.axis, np.int32))
    if len(set(op.sizes)) == 1:
        t.emit(Builtin.SPLIT, [axis, x], parts, SplitOptions(num_splits=len(parts)))
    else:
        sizes = t.integers(f"{parts[0].name}/sizes", op.sizes)
        t.emit(Builtin.SPLIT_V, [x, sizes, axis], parts, SplitVOptions(num_splits=len(parts)))


@lower(Slice)
def slice_(t: Lowering, op: Slice, node: Node) -> None:
    """SLICE."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    begin, size = t.integers(f"{y.name}/begin", op.begin), t.integers(f"{y.name}/size", op.size)
    t.emit(Builtin.SLICE, [x, begin, size], [y], SliceOptions())


@lower(Reshape, Flatten, Squeeze, ExpandDims)
def reshape(t: Lowering, op: Op, node: Node) -> None:
    """RESHAPE."""
    x = t.read(node.inputs[0])
    t.reshape(x, t.declare(node.output))


@lower(Transpose)
def transpose(t: Lowering, op: Transpose, node: Node) -> None:
    """TRANSPOSE; only where the network itself asks for one."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    t.emit(Builtin.TRANSPOSE, [x, t.integers(f"{y.name}/axes", op.permutation)], [y], TransposeOptions())


@lower(BroadcastTo)
def broadcast_to(t: Lowering, op: BroadcastTo, node: Node) -> None:
    """BROADCAST_TO; with an open batch, whose size it cannot be given, or for runtimes that lack it MUL by ones."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    if y.spec.symbolic or t.must_avoid(Builtin.BROADCAST_TO, 2):
        shape = (1, *y.spec.shape[1:]) if y.spec.symbolic else y.spec.shape
        ones = t.constant(f"{y.name}/ones", np.ones(shape, x.spec.numpy_dtype))
        t.emit(Builtin.MUL, [x, ones], [y], MulOptions())
    else:
        sizes = t.integers(f"{y.name}/shape", y.spec.shape)
        t.emit(Builtin.BROADCAST_TO, [x, sizes], [y], BroadcastToOptions())


@lower(Cast)
def cast(t: Lowering, op: Cast, node: Node) -> None:
    """CAST."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    options = CastOptions(TensorType[x.spec.dtype], TensorType[y.spec.dtype])
    t.emit(Builtin.CAST, [x], [y], options)


@lower(Resize)
def resize(t: Lowering, op: Resize, node: Node) -> None:
    """RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    inputs = [x, t.integers(f"{y.name}/size", op.size)]
    if op.method == "bilinear":
        bilinear = ResizeBilinearOptions(op.align_corners, op.half_pixel_centers)
        t.emit(Builtin.RESIZE_BILINEAR, inputs, [y], bilinear)
    else:
        nearest = ResizeNearestNeighborOptions(op.align_corners, op.half_pixel_centers)
        t.emit(Builtin.RESIZE_NEAREST_NEIGHBOR, inputs, [y], nearest)
