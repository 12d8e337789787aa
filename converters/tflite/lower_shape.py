"""Lowering of operators that move elements."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.lowering import Lowering, lower, shape_of
from edge_sdk.converters.tflite.options import (
    CastOptions,
    ConcatenationOptions,
    GatherOptions,
    PadOptions,
    PadV2Options,
    ReshapeOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    SliceOptions,
    SplitVOptions,
    TransposeOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, Options, TensorType
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.control import Identity
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Cast, Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose


def _reshape(t: Lowering, node: Node, op: Op) -> None:
    """RESHAPE with -1 for the open batch; squeezing and flattening are the same to a phone."""
    shape = shape_of(t.spec(node.output))
    inputs = [t.tensor(node.inputs[0]), t.constant(np.array(shape, np.int32))]
    t.emit(Builtin.RESHAPE, inputs, [t.tensor(node.output)], ReshapeOptions(shape))


for _op in (Reshape, Flatten, Squeeze, ExpandDims, Identity):
    lower(_op)(_reshape)


@lower(Pad)
def pad(t: Lowering, node: Node, op: Pad) -> None:
    """PAD with zeros, PADV2 with another value."""
    inputs = [t.tensor(node.inputs[0]), t.constant(np.array(op.paddings, np.int32))]
    int8 = t.quantized(node.output)
    if op.value == 0:
        t.emit(Builtin.PAD, inputs, [t.tensor(node.output)], PadOptions(), int8=int8)
        return
    if int8:
        raise ExportError(f"int8: no 8-bit form of padding with {op.value} ({node.output})")
    inputs.append(t.constant(np.array(op.value, np.float32)))
    t.emit(Builtin.PADV2, inputs, [t.tensor(node.output)], PadV2Options())


@lower(Concat)
def concat(t: Lowering, node: Node, op: Concat) -> None:
    """CONCATENATION."""
    t.simple(node, Builtin.CONCATENATION, ConcatenationOptions(axis=op.axis))


@lower(Split)
def split(t: Lowering, node: Node, op: Split) -> None:
    """SPLIT_V."""
    sizes, axis = np.array(op.sizes, np.int32), np.array(op.axis, np.int32)
    inputs = [t.tensor(node.inputs[0]), t.constant(sizes), t.constant(axis)]
    outputs = [t.tensor(value) for value in node.outputs]
    t.emit(Builtin.SPLIT_V, inputs, outputs, SplitVOptions(len(outputs)), int8=t.quantized(node.outputs[0]))


@lower(Slice)
def slice_block(t: Lowering, node: Node, op: Slice) -> None:
    """SLICE, where -1 means all to the end, as here."""
    bounds = [t.constant(np.array(numbers, np.int32)) for numbers in (op.begin, op.size)]
    int8 = t.quantized(node.output)
    t.emit(Builtin.SLICE, [t.tensor(node.inputs[0]), *bounds], [t.tensor(node.output)], SliceOptions(), int8=int8)


@lower(Transpose)
def transpose(t: Lowering, node: Node, op: Transpose) -> None:
    """TRANSPOSE, which only a model that transposes has."""
    inputs = [t.tensor(node.inputs[0]), t.constant(np.array(op.permutation, np.int32))]
    t.emit(Builtin.TRANSPOSE, inputs, [t.tensor(node.output)], TransposeOptions(), int8=t.quantized(node.output))


@lower(Cast)
def cast(t: Lowering, node: Node, op: Cast) -> None:
    """CAST."""
    source = TensorType[t.spec(node.inputs[0]).dtype]
    t.simple(node, Builtin.CAST, CastOptions(source, TensorType[op.dtype]))


@lower(Gather)
def gather(t: Lowering, node: Node, op: Gather) -> None:
    """GATHER."""
    t.simple(node, Builtin.GATHER, GatherOptions(axis=op.axis))


@lower(Resize)
def resize(t: Lowering, node: Node, op: Resize) -> None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR."""
    options: Options
    if op.method == "bilinear":
        code = Builtin.RESIZE_BILINEAR
        options = ResizeBilinearOptions(op.align_corners, op.half_pixel_centers)
    else:
        code = Builtin.RESIZE_NEAREST_NEIGHBOR
        options = ResizeNearestNeighborOptions(op.align_corners, op.half_pixel_centers)
    inputs = [t.tensor(node.inputs[0]), t.constant(np.array(op.size, np.int32))]
    version = 3 if op.half_pixel_centers or t.quantized(node.output) else 1
    t.emit(code, inputs, [t.tensor(node.output)], options, version=version)
