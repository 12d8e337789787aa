"""Convolutions and their gradients as graphs of cuDNN: one operation on NHWC images and OHWI weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.kernels.gpu.cudnn import Cudnn, Descriptor
from edge_sdk.kernels.gpu.cudnn_names import CROSS_CORRELATION, Attribute, Backend, Data, Type
from edge_sdk.kernels.gpu.libraries import ALIGNMENT
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.ops.geometry import Pair, resolve_padding

TYPES = {"float32": Data.FLOAT, "float16": Data.HALF, "bfloat16": Data.BFLOAT16}
"""The numbers that these graphs are made for, by a spec's name of them."""

Sought = Literal["result", "image", "weights"]
Shape = tuple[int, int, int, int]
IMAGE, WEIGHTS, RESULT = 1, 2, 3
"""The numbers of the tensors in a graph."""


@dataclass(frozen=True)
class Convolution:
    """A convolution, one tensor of which is sought from the two others: its result, or a gradient."""

    sought: Sought
    dtype: str
    image: Shape
    """(n, h, w, c)"""
    weights: Shape
    """(k, r, s, c / groups)"""
    result: Shape
    """(n, p, q, k)"""
    stride: Pair
    dilation: Pair
    before: Pair
    """Padding at the top and the left."""
    after: Pair
    """Padding at the bottom and the right."""
    rounds: bool
    """Whether factors of float32 may be rounded to the TF32 of tensor cores."""

    @property
    def elements(self) -> int:
        """How many numbers the largest tensor has."""
        return max(math.prod(self.image), math.prod(self.weights), math.prod(self.result))


def convolution(
    op: Conv2D | Conv2DGradInput | Conv2DGradWeight, sought: Sought, dtype: str, image: Sequence[int],
    weights: Sequence[int], result: Sequence[int],
) -> Convolution:  # fmt: skip
    """Return what an operator computes on tensors of these shapes.

    Where windows end before the padding at the far end does, as many engines as possible are left to cuDNN: few of them
    take padding that differs between the two ends of an axis.
    """
    kernel: Pair = (weights[1], weights[2])
    padding = resolve_padding(op.padding, (image[1], image[2]), kernel, op.stride, op.dilation)
    before = (padding[0][0], padding[1][0])
    after = [padding[0][1], padding[1][1]]
    for axis in (0, 1):
        room = image[1 + axis] + 2 * before[axis] - ((kernel[axis] - 1) * op.dilation[axis] + 1)
        if room >= 0 and room // op.stride[axis] + 1 == result[1 + axis]:
            after[axis] = before[axis]
    return Convolution(
        sought, dtype, _shape(image), _shape(weights), _shape(result), op.stride, op.dilation,
        before, (after[0], after[1]), op.precision != "float32",
    )  # fmt: skip


def _shape(sizes: Sequence[int]) -> Shape:
    first, second, third, fourth = sizes
    return first, second, third, fourth


def graph_of(library: Cudnn, wanted: Convolution) -> Descriptor:
    """Return the graph; raises CudnnError where the shapes do not fit together."""
    image = _tensor(library, IMAGE, wanted.image, wanted.dtype)
    weights = _tensor(library, WEIGHTS, wanted.weights, wanted.dtype)
    result = _tensor(library, RESULT, wanted.result, wanted.dtype)
    described = _geometry(library, wanted)
    if wanted.sought == "result":
        operation = Descriptor(library, Backend.OPERATION_CONVOLUTION_FORWARD)
        operation.set(Attribute.OPERATION_CONVOLUTION_FORWARD_X, Type.BACKEND_DESCRIPTOR, image)
        operation.set(Attribute.OPERATION_CONVOLUTION_FORWARD_W, Type.BACKEND_DESCRIPTOR, weights)
        operation.set(Attribute.OPERATION_CONVOLUTION_FORWARD_Y, Type.BACKEND_DESCRIPTOR, result)
        operation.set(Attribute.OPERATION_CONVOLUTION_FORWARD_CONV_DESC, Type.BACKEND_DESCRIPTOR, described)
        operation.set(Attribute.OPERATION_CONVOLUTION_FORWARD_ALPHA, Type.FLOAT, 1.0)
        operation.set(Attribute.OPERATION_CONVOLUTION_FORWARD_BETA, Type.FLOAT, 0.0)
    elif wanted.sought == "image":
        operation = Descriptor(library, Backend.OPERATION_CONVOLUTION_BACKWARD_DATA)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_DATA_DX, Type.BACKEND_DESCRIPTOR, image)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_DATA_W, Type.BACKEND_DESCRIPTOR, weights)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_DATA_DY, Type.BACKEND_DESCRIPTOR, result)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, Type.BACKEND_DESCRIPTOR, described)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_DATA_ALPHA, Type.FLOAT, 1.0)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_DATA_BETA, Type.FLOAT, 0.0)
    else:
        operation = Descriptor(library, Backend.OPERATION_CONVOLUTION_BACKWARD_FILTER)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_FILTER_X, Type.BACKEND_DESCRIPTOR, image)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_FILTER_DW, Type.BACKEND_DESCRIPTOR, weights)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_FILTER_DY, Type.BACKEND_DESCRIPTOR, result)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, Type.BACKEND_DESCRIPTOR, described)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, Type.FLOAT, 1.0)
        operation.set(Attribute.OPERATION_CONVOLUTION_BWD_FILTER_BETA, Type.FLOAT, 0.0)
    return library.graph(operation.finalized())


def _tensor(library: Cudnn, number: int, shape: Shape, dtype: str) -> Descriptor:
    """A tensor that lies (n, h, w, c). cuDNN names its dimensions in the order n, c, h, w, and weights' k, c, r, s."""
    n, h, w, c = shape
    tensor = Descriptor(library, Backend.TENSOR)
    tensor.set(Attribute.TENSOR_UNIQUE_ID, Type.INT64, number)
    tensor.set(Attribute.TENSOR_DATA_TYPE, Type.DATA_TYPE, TYPES[dtype])
    tensor.set(Attribute.TENSOR_BYTE_ALIGNMENT, Type.INT64, ALIGNMENT)
    tensor.set(Attribute.TENSOR_DIMENSIONS, Type.INT64, n, c, h, w)
    tensor.set(Attribute.TENSOR_STRIDES, Type.INT64, h * w * c, 1, w * c, c)
    return tensor.finalized()


def _geometry(library: Cudnn, wanted: Convolution) -> Descriptor:
    described = Descriptor(library, Backend.CONVOLUTION)
    described.set(Attribute.CONVOLUTION_COMP_TYPE, Type.DATA_TYPE, Data.FLOAT)
    described.set(Attribute.CONVOLUTION_CONV_MODE, Type.CONVOLUTION_MODE, CROSS_CORRELATION)
    described.set(Attribute.CONVOLUTION_SPATIAL_DIMS, Type.INT64, 2)
    described.set(Attribute.CONVOLUTION_FILTER_STRIDES, Type.INT64, *wanted.stride)
    described.set(Attribute.CONVOLUTION_DILATIONS, Type.INT64, *wanted.dilation)
    described.set(Attribute.CONVOLUTION_PRE_PADDINGS, Type.INT64, *wanted.before)
    described.set(Attribute.CONVOLUTION_POST_PADDINGS, Type.INT64, *wanted.after)
    return described.finalized()
