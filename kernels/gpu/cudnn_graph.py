"""Convolutions and their gradients as graphs of cuDNN, on NHWC images and OHWI weights, with what follows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.kernels.gpu.cudnn import Cudnn, Descriptor
from edge_sdk.kernels.gpu.cudnn_names import CROSS_CORRELATION, PROPAGATE_NAN, Attribute, Backend, Data, Pointwise, Type
from edge_sdk.kernels.gpu.libraries import ALIGNMENT
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.ops.geometry import Activation, Pair, resolve_padding

TYPES = {"float32": Data.FLOAT, "float16": Data.HALF, "bfloat16": Data.BFLOAT16}
"""The numbers that these graphs are made for, by a spec's name of them."""

Sought = Literal["result", "image", "weights"]
OPERATIONS: dict[Sought, tuple[Backend, str, str, str, str]] = {
    "result": (Backend.OPERATION_CONVOLUTION_FORWARD, "OPERATION_CONVOLUTION_FORWARD", "X", "W", "Y"),
    "image": (Backend.OPERATION_CONVOLUTION_BACKWARD_DATA, "OPERATION_CONVOLUTION_BWD_DATA", "DX", "W", "DY"),
    "weights": (Backend.OPERATION_CONVOLUTION_BACKWARD_FILTER, "OPERATION_CONVOLUTION_BWD_FILTER", "X", "DW", "DY"),
}
"""What computes each tensor, and how its attributes are called: image, weights, result."""
UPPER_ENDS = {"relu": math.inf, "relu6": 6.0}
"""Where activations end."""

Shape = tuple[int, int, int, int]
IMAGE, WEIGHTS, RESULT, BIAS, RESIDUAL = 1, 2, 3, 4, 5
"""The numbers of the tensors in a graph."""
VIRTUAL = 10
"""The number of the first tensor that is never in memory."""


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
    biased: bool = False
    """Whether a number a channel is added to the result."""
    added: bool = False
    """Whether another result is added."""
    activation: Activation = None

    @property
    def is_followed(self) -> bool:
        """Whether anything is done to the result before it is stored."""
        return self.biased or self.added or self.activation is not None

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
    follows: list[tuple[Pointwise, Descriptor | None]] = []
    if wanted.biased:
        follows.append((Pointwise.ADD, _tensor(library, BIAS, (1, 1, 1, wanted.result[3]), wanted.dtype)))
    if wanted.added:
        follows.append((Pointwise.ADD, _tensor(library, RESIDUAL, wanted.result, wanted.dtype)))
    if wanted.activation:
        follows.append((Pointwise.RELU_FWD, None))
    stages = [_tensor(library, VIRTUAL + index, wanted.result, None) for index in range(len(follows))]
    stages.append(_tensor(library, RESULT, wanted.result, wanted.dtype))
    operations = [_products(library, wanted, stages[0])]
    for (mode, operand), before, after in zip(follows, stages, stages[1:], strict=False):
        operation = Descriptor(library, Backend.OPERATION_POINTWISE)
        described = _pointwise(library, mode, wanted)
        operation.set(Attribute.OPERATION_POINTWISE_PW_DESCRIPTOR, Type.BACKEND_DESCRIPTOR, described)
        operation.set(Attribute.OPERATION_POINTWISE_XDESC, Type.BACKEND_DESCRIPTOR, before)
        if operand is not None:
            operation.set(Attribute.OPERATION_POINTWISE_BDESC, Type.BACKEND_DESCRIPTOR, operand)
        operation.set(Attribute.OPERATION_POINTWISE_YDESC, Type.BACKEND_DESCRIPTOR, after)
        operations.append(operation.finalized())
    return library.graph(*operations)


def _products(library: Cudnn, wanted: Convolution, result: Descriptor) -> Descriptor:
    """The convolution itself, or a gradient of it."""
    kind, prefix, *names = OPERATIONS[wanted.sought]
    image = _tensor(library, IMAGE, wanted.image, wanted.dtype)
    weights = _tensor(library, WEIGHTS, wanted.weights, wanted.dtype)
    operation = Descriptor(library, kind)
    for name, tensor in zip(names, (image, weights, result), strict=True):
        operation.set(Attribute[f"{prefix}_{name}"], Type.BACKEND_DESCRIPTOR, tensor)
    operation.set(Attribute[f"{prefix}_CONV_DESC"], Type.BACKEND_DESCRIPTOR, _geometry(library, wanted))
    operation.set(Attribute[f"{prefix}_ALPHA"], Type.FLOAT, 1.0)
    operation.set(Attribute[f"{prefix}_BETA"], Type.FLOAT, 0.0)
    return operation.finalized()


def _pointwise(library: Cudnn, mode: Pointwise, wanted: Convolution) -> Descriptor:
    described = Descriptor(library, Backend.POINTWISE)
    described.set(Attribute.POINTWISE_MODE, Type.POINTWISE_MODE, mode)
    described.set(Attribute.POINTWISE_MATH_PREC, Type.DATA_TYPE, Data.FLOAT)
    if mode == Pointwise.RELU_FWD:
        described.set(Attribute.POINTWISE_NAN_PROPAGATION, Type.NAN_PROPOGATION, PROPAGATE_NAN)
        upper = UPPER_ENDS[wanted.activation or "relu"]  # without it, what is infinite would be cut as well
        described.set(Attribute.POINTWISE_RELU_UPPER_CLIP, Type.DOUBLE, upper)
    return described.finalized()


def _tensor(library: Cudnn, number: int, shape: Shape, dtype: str | None) -> Descriptor:
    """A tensor that lies (n, h, w, c), or one of float32 that lies nowhere.

    cuDNN names the dimensions in the order n, c, h, w, and weights' k, c, r, s.
    """
    n, h, w, c = shape
    tensor = Descriptor(library, Backend.TENSOR)
    tensor.set(Attribute.TENSOR_UNIQUE_ID, Type.INT64, number)
    tensor.set(Attribute.TENSOR_DATA_TYPE, Type.DATA_TYPE, TYPES[dtype or "float32"])
    tensor.set(Attribute.TENSOR_IS_VIRTUAL, Type.BOOLEAN, dtype is None)
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
