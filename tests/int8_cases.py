"""Rows of quantized operators: one node each on random stored numbers of 8 or 16 bits, whose results fill the range."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu, Relu, Relu6, Sigmoid, Softmax, Tanh
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.quantization.parameters import quantize_bias
from edge_sdk.quantization.rules import FIXED, SAME_PARAMETERS, fixed_parameters
from edge_sdk.spec import Array, QuantParams, Spec
from edge_sdk.workspace import Workspace

WEIGHT_AXIS = {Conv2D: 0, ConvTranspose2D: 0, DepthwiseConv2D: 3}


STEPS = 256
"""How many steps of a 16-bit number one of an 8-bit number is."""


def any_parameters(random: np.random.Generator, scale: float, *, symmetric: bool = False) -> QuantParams:
    """Parameters of a scale between a fifth and five times the given one, and any zero point or 0."""
    drawn = scale * math.exp(random.uniform(-1.6, 1.6))
    return QuantParams((float(np.float32(drawn)),), (0 if symmetric else int(random.integers(-128, 128)),))


@dataclass(frozen=True)
class Int8Case:
    """An operator, the shapes it is computed on, and the dtype that goes in.

    `weights` is the shape of a constant second input with a bias; `shapes` are those of the other inputs. `wide` scales
    and zero points are anything that networks have; results need not fill the range then. A dense layer has one scale
    of its weights, or with `by_channel` one for each output. The result of int16 is int16.
    """

    name: str
    op: Op
    shapes: tuple[tuple[int, ...], ...]
    weights: tuple[int, ...] | None = None
    dtype: str = "int8"
    quants: tuple[QuantParams, ...] = field(default=())
    wide: bool = False
    by_channel: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def is_wide(self) -> bool:
        """Whether the activations have 16 bits."""
        return self.dtype == "int16"

    def program(self) -> tuple[Graph, Workspace, dict[str, Array]]:
        """The graph of the operator alone, its weights and what it is fed."""
        random = np.random.default_rng(zlib.crc32(self.name.encode()))
        g, arrays, feeds, values = Builder("one"), Workspace(), {}, []
        same = isinstance(self.op, (*SAME_PARAMETERS, Split))
        for index, shape in enumerate(self.shapes):
            if self.dtype == "float32":
                values.append(g.input(f"x{index}", Spec(shape)))
                feeds[f"x{index}"] = (random.normal(0, 100, shape) * self.op.scale).astype(np.float32)
                continue
            limits = np.iinfo(self.dtype)
            quant = self._input(random) if not (same and index) else g.specs[values[0]].quant
            values.append(g.input(f"x{index}", Spec(shape, self.dtype, quant)))
            feeds[f"x{index}"] = random.integers(limits.min, limits.max + 1, shape).astype(self.dtype)
        if isinstance(self.op, PRelu):
            quant = QuantParams((float(np.float32(random.uniform(0.002, 0.01))),), (int(random.integers(-60, 60)),))
            arrays["slope"] = random.integers(-128, 128, self.shapes[0][-1:]).astype(np.int8)
            values.append(g.param("slope", Spec(self.shapes[0][-1:], "int8", quant)))
        if self.weights is not None:
            values += self._weights(g, arrays, random, g.specs[values[0]].quant)
        inputs = [g.specs[value] for value in values]
        outputs = [self._output(spec, inputs, random) for spec in self.op.infer_outputs(inputs)]
        return g.build(*g.append(self.op, values, outputs, name="y")), arrays, feeds

    def _input(self, random: np.random.Generator) -> QuantParams:
        if isinstance(self.op, Dequantize):
            return QuantParams((self.op.scale,), (self.op.zero_point,))
        if self.quants:
            return self.quants[0]
        step = 1 / STEPS if self.is_wide else 1.0
        if self.wide:
            return any_parameters(random, 0.03 * step, symmetric=self.is_wide)
        scale = float(np.float32(random.uniform(0.01, 0.08) * step))
        return QuantParams((scale,), (0 if self.is_wide else int(random.integers(-78, 72)),))

    def _weights(self, g: Builder, arrays: Workspace, random: np.random.Generator, x: QuantParams) -> list:
        axis = WEIGHT_AXIS.get(type(self.op), 0 if self.by_channel else None)
        channels = self.weights[axis or 0]
        count = channels if axis is not None else 1
        scales = tuple(float(s) for s in np.float32(random.uniform(0.001, 0.01, count)))
        quant = QuantParams(scales, (0,) * count, axis)
        arrays["w"] = random.integers(-127, 128, self.weights).astype(np.int8)
        real = random.normal(0, 1, channels) * scales[0] * x.scale[0] * 4000 * (STEPS if self.is_wide else 1)
        arrays["b"], bias = quantize_bias(real, x.scale[0], quant, self.dtype)
        form = Spec((channels,), arrays["b"].dtype.name, bias)
        return [g.param("w", Spec(self.weights, "int8", quant)), g.param("b", form)]

    def _output(self, spec: Spec, inputs: list[Spec], random: np.random.Generator) -> Spec:
        if isinstance(self.op, Dequantize):
            return Spec(spec.shape, "float32")
        if isinstance(self.op, Quantize):
            return spec
        if type(self.op) in FIXED:
            return Spec(spec.shape, self.dtype, fixed_parameters(self.op, self.dtype))
        x = inputs[0].quant
        if isinstance(self.op, SAME_PARAMETERS):
            return Spec(spec.shape, self.dtype, x)
        scale = x.scale[0]
        if self.weights is not None:
            axis = WEIGHT_AXIS.get(type(self.op), 0)
            depth = math.prod(self.weights) // self.weights[axis]
            scale *= max(inputs[1].quant.scale) * math.sqrt(depth) * 73 * 73 / 64
        elif isinstance(self.op, Mul):
            scale *= inputs[1].quant.scale[0] * 60 * (STEPS if self.is_wide else 1)
        elif isinstance(self.op, Add | Sub):
            scale = (scale + inputs[1].quant.scale[0]) * 0.9
        elif isinstance(self.op, GlobalAvgPool | ReduceMean):
            scale *= 0.3
        else:
            scale *= 0.7
        if self.wide:
            return Spec(spec.shape, self.dtype, any_parameters(random, scale, symmetric=self.is_wide))
        zero = 0 if self.is_wide else int(random.integers(-60, 60))
        return Spec(spec.shape, self.dtype, QuantParams((float(np.float32(scale)),), (zero,)))


def _conv(name: str, shape: tuple[int, ...], weights: tuple[int, ...], **attributes) -> Int8Case:
    return Int8Case(name, Conv2D(**attributes), (shape,), weights)


def _depthwise(name: str, shape: tuple[int, ...], weights: tuple[int, ...], **attributes) -> Int8Case:
    return Int8Case(name, DepthwiseConv2D(**attributes), (shape,), weights)


def _transposed(name: str, shape: tuple[int, ...], weights: tuple[int, ...], **attributes) -> Int8Case:
    return Int8Case(name, ConvTranspose2D(**attributes), (shape,), weights)


IMAGE = (2, 13, 14, 19)
CASES = [
    _conv("conv2d_stem", (2, 30, 31, 3), (32, 7, 7, 3), stride=(2, 2), padding=((3, 3), (3, 3)), activation="relu"),
    _conv("conv2d_3x3", (2, 14, 15, 64), (70, 3, 3, 64), padding="same"),
    _conv("conv2d_3x3_odd", (2, 9, 8, 13), (17, 3, 3, 13), padding="same", activation="relu6"),
    _conv("conv2d_strided", (1, 15, 16, 64), (128, 3, 3, 64), stride=(2, 2), padding="same", activation="relu"),
    _conv("conv2d_1x1", (2, 10, 11, 24), (144, 1, 1, 24), activation="relu6"),
    _conv("conv2d_1x1_narrow", (1, 20, 20, 96), (16, 1, 1, 96)),
    _conv("conv2d_1x1_strided", (1, 15, 15, 64), (40, 1, 1, 64), stride=(2, 2)),
    _conv("conv2d_dilated", (1, 15, 15, 5), (8, 3, 3, 5), dilation=(2, 2), padding="same"),
    _conv("conv2d_groups", (1, 9, 9, 12), (20, 3, 3, 3), groups=4, padding="same"),
    _conv("conv2d_5x3", (1, 12, 12, 7), (9, 5, 3, 7), padding="valid"),
    _depthwise("depthwise_3x3", (2, 14, 15, 32), (1, 3, 3, 32), padding="same", activation="relu6"),
    _depthwise("depthwise_strided", (1, 29, 30, 72), (1, 3, 3, 72), stride=(2, 2), padding="same"),
    _depthwise("depthwise_5x5", (1, 14, 14, 100), (1, 5, 5, 100), padding="same"),
    _depthwise("depthwise_1x1", (2, 20, 20, 3), (1, 1, 1, 3)),
    _depthwise("depthwise_dilated", (1, 12, 13, 5), (1, 3, 3, 5), dilation=(2, 2), padding="same"),
    _depthwise("depthwise_multiplier", (1, 9, 9, 6), (1, 3, 3, 12), padding="same"),
    _transposed("conv_transpose2d", (1, 7, 6, 13), (9, 3, 3, 13), stride=(2, 2), padding=((1, 1), (1, 1))),
    _transposed("conv_transpose2d_4x4", (2, 5, 6, 64), (32, 4, 4, 64), stride=(2, 2), padding=((1, 1), (1, 1))),
    _transposed("conv_transpose2d_groups", (1, 7, 6, 8), (6, 2, 3, 4), groups=2, activation="relu"),
    _transposed(
        "conv_transpose2d_output_padding", (1, 5, 6, 5), (7, 3, 3, 5), stride=(2, 3), padding=((1, 0), (0, 2)),
        output_padding=(1, 2), dilation=(2, 1), activation="relu6",
    ),
    _transposed("conv_transpose2d_1x1", (1, 5, 6, 5), (7, 1, 1, 5), stride=(2, 2), output_padding=(1, 1)),
    Int8Case("linear_1", Linear(), ((1, 512),), (1000, 512)),
    Int8Case("linear_33", Linear(activation="relu"), ((33, 77),), (37, 77)),
    Int8Case("add", Add(), (IMAGE, IMAGE)),
    Int8Case("add_relu", Add(activation="relu"), (IMAGE, IMAGE)),
    Int8Case("add_broadcast", Add(), (IMAGE, (1, 1, 1, 19))),
    Int8Case("sub", Sub(), (IMAGE, IMAGE)),
    Int8Case("mul", Mul(), (IMAGE, IMAGE)),
    Int8Case("mul_broadcast", Mul(), (IMAGE, (2, 1, 1, 19))),
    Int8Case("maximum", Maximum(), (IMAGE, IMAGE)),
    Int8Case("minimum", Minimum(), (IMAGE, IMAGE)),
    Int8Case("relu", Relu(), (IMAGE,)),
    Int8Case("relu6", Relu6(), (IMAGE,)),
    Int8Case("leaky_relu", LeakyRelu(0.1), (IMAGE,)),
    Int8Case("prelu", PRelu(), (IMAGE,)),
    Int8Case("hard_swish", HardSwish(), (IMAGE,)),
    Int8Case("sigmoid", Sigmoid(), (IMAGE,)),
    Int8Case("tanh", Tanh(), (IMAGE,)),
    Int8Case("softmax", Softmax(), ((40, 101),)),
    Int8Case("max_pool2d", MaxPool2D((3, 3), (2, 2), "same"), (IMAGE,)),
    Int8Case("max_pool2d_padded", MaxPool2D((3, 3), (2, 2), ((1, 1), (1, 1))), ((2, 13, 14, 70),)),
    Int8Case("avg_pool2d", AvgPool2D((3, 3), (2, 2), "same"), (IMAGE,)),
    Int8Case("avg_pool2d_padded", AvgPool2D((2, 2), (2, 2), ((1, 1), (0, 0)), count_padding=True), (IMAGE,)),
    Int8Case("adaptive_avg_pool2d", AdaptiveAvgPool2D((4, 7)), ((2, 12, 14, 19),)),
    Int8Case("adaptive_avg_pool2d_uneven", AdaptiveAvgPool2D((4, 5)), (IMAGE,)),
    Int8Case("global_avg_pool", GlobalAvgPool(), ((4, 7, 7, 130),)),
    Int8Case("reduce_mean", ReduceMean(axes=(1, 2), keep_dims=True), (IMAGE,)),
    Int8Case("reduce_mean_channels", ReduceMean(axes=(3,)), (IMAGE,)),
    Int8Case("resize_bilinear", Resize((20, 9)), (IMAGE,)),
    Int8Case("resize_aligned", Resize((20, 9), align_corners=True, half_pixel_centers=False), (IMAGE,)),
    Int8Case("resize_nearest", Resize((20, 9), "nearest"), (IMAGE,)),
    Int8Case("quantize_uint8", Quantize(0.05, 3), (IMAGE,), dtype="uint8", quants=(QuantParams((0.05,), (131,)),)),
    Int8Case("requantize", Quantize(0.037, 11), (IMAGE,)),
    Int8Case("dequantize_odd", Dequantize(0.043, -7), ((3, 7, 7, 3),)),
    Int8Case("dequantize", Dequantize(0.043, -7), (IMAGE,)),
    Int8Case("concat", Concat(3), (IMAGE, (2, 13, 14, 5))),
    Int8Case("split", Split(3, (4, 15)), (IMAGE,)),
    Int8Case("slice", Slice((0, 1, 2, 3), (2, 5, 6, 7)), (IMAGE,)),
    Int8Case("pad", Pad(((0, 0), (1, 2), (2, 1), (0, 3))), (IMAGE,)),
    Int8Case("reshape", Reshape((2, 13, 14 * 19)), (IMAGE,)),
    Int8Case("flatten", Flatten(), (IMAGE,)),
    Int8Case("transpose", Transpose((0, 3, 1, 2)), (IMAGE,)),
    Int8Case("squeeze", Squeeze((1,)), ((3, 1, 7),)),
    Int8Case("expand_dims", ExpandDims((1,)), ((3, 7),)),
]  # fmt: skip

NARROW = (HardSwish, PRelu)
"""Operators that no runtime of a stated version has on 16 bits."""


def _widened(case: Int8Case) -> Int8Case:
    """The same operator on 16-bit numbers."""
    op = case.op
    if isinstance(op, Quantize):
        op = Quantize(op.scale / STEPS, 0, "int16")
    if isinstance(op, Dequantize):
        op = Dequantize(op.scale / STEPS, 0)
    return replace(case, name=f"{case.name}_int16", op=op, dtype="int16" if case.dtype == "int8" else case.dtype)


WIDE_CASES = [
    *(_widened(case) for case in CASES if not isinstance(case.op, NARROW)),
    Int8Case("narrowed", Quantize(0.037, 11), (IMAGE,), dtype="int16"),
    Int8Case("widened", Quantize(0.00017, 0, "int16"), (IMAGE,)),
]
"""Rows of operators on 16 bits, and of the borders to 8."""
