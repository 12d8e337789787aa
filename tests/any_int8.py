"""Quantized operators of any shape, attributes, scales and zero points: what property tests and measurements draw.

Those of 16 bits are the same operators on finer steps, without zero points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from int8_cases import STEPS, Int8Case

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
from edge_sdk.spec import QuantParams

Random = np.random.Generator
Drawn = tuple[Op, tuple[tuple[int, ...], ...], tuple[int, ...] | None]
ACTIVATIONS = (None, "relu", "relu6")
MOST_CHANNELS = 40


def any_case(kind: str, seed: int) -> Int8Case:
    """One operator of a kind in `KINDS`, decided by the seed."""
    random = np.random.default_rng(seed)
    op, shapes, weights = KINDS[kind](random)
    name = f"{kind}{seed}"
    if kind == "linear by channel":
        return Int8Case(name, op, shapes, weights, wide=True, by_channel=True)
    if kind == "quantize of reals":
        return Int8Case(name, op, shapes, weights, "float32", wide=True)
    if kind == "quantize" and random.random() < 0.3:  # pixels: the same numbers, moved by 128
        quant = QuantParams((op.scale,), (op.zero_point + 128,))
        return Int8Case(name, op, shapes, weights, "uint8", (quant,), wide=True)
    return Int8Case(name, op, shapes, weights, wide=True)


def any_wide_case(kind: str, seed: int) -> Int8Case:
    """One operator of a kind in `WIDE_KINDS` on 16-bit numbers, decided by the seed."""
    random = np.random.default_rng(seed)
    op, shapes, weights = WIDE_KINDS[kind](random)
    name, by_channel = f"{kind} of 16 bits {seed}", kind == "linear by channel"
    dtype = {"quantize of reals": "float32", "widen": ("int8", "uint8")[int(random.integers(2))]}.get(kind, "int16")
    if dtype == "uint8":
        pixels = QuantParams((float(np.float32(random.uniform(0.002, 0.08))),), (int(random.integers(256)),))
        return Int8Case(name, op, shapes, weights, dtype, (pixels,), wide=True)
    return Int8Case(name, op, shapes, weights, dtype, wide=True, by_channel=by_channel)


def _size(random: Random, low: int = 1, high: int = 14) -> int:
    return int(random.integers(low, high + 1))


def _pair(random: Random, low: int = 1, high: int = 3) -> tuple[int, int]:
    return _size(random, low, high), _size(random, low, high)


def _image(random: Random, least: int = 6, most: int = MOST_CHANNELS) -> tuple[int, int, int, int]:
    return _size(random, 1, 2), _size(random, least), _size(random, least), _size(random, 1, most)


def _activation(random: Random) -> str | None:
    return ACTIVATIONS[int(random.integers(3))]


def _padding(random: Random) -> object:
    return ("same", "valid", ((1, 0), (1, 1)))[int(random.integers(3))]


def _conv2d(random: Random) -> Drawn:
    x, groups = _image(random), (1, 1, 2, 3)[int(random.integers(4))]
    x = (*x[:3], x[3] * groups)
    stride = _pair(random, 1, 2)
    dilation = _pair(random, 1, 2) if stride == (1, 1) else (1, 1)
    weights = (_size(random, 1, 24) * groups, *_pair(random), x[3] // groups)
    op = Conv2D(stride, _padding(random), dilation, groups, activation=_activation(random))
    if groups > 1 and weights[3] == 1:
        op = Conv2D(stride, _padding(random), dilation, 1, activation=_activation(random))
        weights = (*weights[:3], x[3])
    return op, (x,), weights


def _depthwise(random: Random) -> Drawn:
    x, stride = _image(random), (_size(random, 1, 2),) * 2
    dilation = (_size(random, 1, 2),) * 2 if stride == (1, 1) else (1, 1)
    weights = (1, *_pair(random), x[3] * (1, 1, 2)[int(random.integers(3))])
    return DepthwiseConv2D(stride, _padding(random), dilation, _activation(random)), (x,), weights


def _transposed(random: Random) -> Drawn:
    groups = (1, 1, 2)[int(random.integers(3))]
    n, h, w, c = _image(random, 2, 20)
    stride, kernel = _pair(random), _pair(random)
    padding = tuple((int(random.integers(min(r, 2))), int(random.integers(min(r, 2)))) for r in kernel)
    more = tuple(int(random.integers(s)) for s in stride)
    op = ConvTranspose2D(stride, padding, (1, 1), groups, more, _activation(random))
    return op, ((n, h, w, c * groups),), (_size(random, 1, 20) * groups, *kernel, c)


def _linear(random: Random) -> Drawn:
    depth = _size(random, 1, 200)
    return Linear(_activation(random)), ((_size(random, 1, 9), depth),), (_size(random, 1, 60), depth)


def _max_pool(random: Random) -> Drawn:
    return MaxPool2D(_pair(random), _pair(random), _padding(random)), (_image(random),), None


def _avg_pool(random: Random) -> Drawn:
    counted = bool(random.integers(2))
    return AvgPool2D(_pair(random), _pair(random), _padding(random), count_padding=counted), (_image(random),), None


def _two(op: type[Op]) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        x = _image(random, 2)
        other = (x, (1, 1, 1, x[3]), (x[0], 1, 1, x[3]), (1, 1, 1, 1))[int(random.integers(4))]
        return (Add(_activation(random)) if op is Add else op()), (x, other), None

    return draw


def _one(*ops: Op) -> Callable[[Random], Drawn]:
    return lambda random: (ops[int(random.integers(len(ops)))], (_image(random, 2),), None)


def _leaky_relu(random: Random) -> Drawn:
    return LeakyRelu(float(np.float32(random.uniform(0.01, 0.9)))), (_image(random, 2),), None


def _softmax(random: Random) -> Drawn:
    return Softmax(), ((_size(random, 1, 20), _size(random, 1, 300)),), None


def _adaptive(random: Random) -> Drawn:
    x = _image(random)
    return AdaptiveAvgPool2D((_size(random, 1, x[1]), _size(random, 1, x[2]))), (x,), None


def _mean(random: Random) -> Drawn:
    axes = ((1,), (2,), (3,), (1, 2), (2, 3), (1, 2, 3))[int(random.integers(6))]
    return ReduceMean(axes=axes, keep_dims=bool(random.integers(2))), (_image(random),), None


def _resize(random: Random) -> Drawn:
    x, aligned = _image(random, 2, 20), bool(random.integers(2))
    centers = not aligned and bool(random.integers(2))
    method = ("bilinear", "bilinear", "nearest")[int(random.integers(3))]
    size = (_size(random, 1, 30), _size(random, 1, 30))
    return Resize(size, method, align_corners=aligned, half_pixel_centers=centers), (x,), None


def _quantize(random: Random) -> Drawn:
    scale = float(np.float32(random.uniform(0.005, 0.2)))
    return Quantize(scale, int(random.integers(-128, 128))), (_image(random, 2),), None


def _dequantize(random: Random) -> Drawn:
    op, shapes, _ = _quantize(random)
    return Dequantize(op.scale, op.zero_point), shapes, None


def _concat(random: Random) -> Drawn:
    x = _image(random, 2)
    return Concat(3), (x, (*x[:3], _size(random, 1, 9)), (*x[:3], _size(random, 1, 9))), None


def _moved(random: Random) -> Drawn:
    x = _image(random, 3)
    ops: tuple[Op, ...] = (
        Pad(((0, 0), _pair(random, 0, 2), _pair(random, 0, 2), (0, 0))),
        Slice((0, 1, 1, 0), (x[0], 2, 2, x[3])),
        Split(1, (1, x[1] - 1)),
        Flatten(),
        Reshape((x[0], x[1] * x[2], x[3])),
        Transpose((0, 2, 3, 1)),
        ExpandDims((1,)),
    )
    return ops[int(random.integers(len(ops)))], (x,), None


def _squeeze(random: Random) -> Drawn:
    return Squeeze((1,)), ((_size(random, 1, 3), 1, _size(random, 1, 30)),), None


KINDS: dict[str, Callable[[Random], Drawn]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "conv_transpose2d": _transposed,
    "linear": _linear,
    "linear by channel": _linear,
    "add": _two(Add),
    "sub": _two(Sub),
    "mul": _two(Mul),
    "maximum": _two(Maximum),
    "minimum": _two(Minimum),
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive,
    "global_avg_pool": lambda random: (GlobalAvgPool(), (_image(random),), None),
    "reduce_mean": _mean,
    "relu": _one(Relu()),
    "relu6": _one(Relu6()),
    "leaky_relu": _leaky_relu,
    "prelu": _one(PRelu()),
    "hard_swish": _one(HardSwish()),
    "sigmoid": _one(Sigmoid()),
    "tanh": _one(Tanh()),
    "softmax": _softmax,
    "resize": _resize,
    "quantize": _quantize,
    "quantize of reals": _quantize,
    "dequantize": _dequantize,
    "concat": _concat,
    "pad, slice, reshape, …": _moved,
    "squeeze": _squeeze,
}


def _fine(dtype: str = "int16") -> Callable[[Random], Drawn]:
    """A quantization to int16, whose steps are finer, or to int8."""

    def draw(random: Random) -> Drawn:
        op, shapes, _ = _quantize(random)
        return Quantize(op.scale / STEPS, 0, "int16") if dtype == "int16" else op, shapes, None

    return draw


def _fine_dequantize(random: Random) -> Drawn:
    op, shapes, _ = _fine()(random)
    return Dequantize(op.scale, 0), shapes, None


WIDE_KINDS: dict[str, Callable[[Random], Drawn]] = {
    **{kind: draw for kind, draw in KINDS.items() if kind not in ("prelu", "hard_swish")},
    "quantize": _fine(),
    "quantize of reals": _fine(),
    "widen": _fine(),
    "narrow": _fine("int8"),
    "dequantize": _fine_dequantize,
}
"""Those of them that the runtime has on 16 bits, and the borders to 8."""
