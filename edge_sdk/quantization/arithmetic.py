"""What 8-bit kernels compute with: multipliers, limits and tables worked out of scales and zero points.

Sums of products are exact in int32. What turns them into stored int8 numbers is rounded as XNNPACK does it, the
arithmetic of LiteRT's CPU runtime by default: by one float32 multiplication, halves to even, or, where a sum of two
tensors is stored, by a shift of integers. Operators that XNNPACK leaves to the builtin kernels follow those.
(google/XNNPACK src/microparams-init.c, src/operators; tensorflow/lite/kernels/internal.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Tanh
from edge_sdk.ops.geometry import Activation
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Pad
from edge_sdk.spec import Array, QuantParams, Spec

LOWEST, HIGHEST = -128, 127
PRECISION = 20  # bits of the multipliers of a sum
MIXTURE_BITS = 11  # of the weights of a resized image


@dataclass(frozen=True)
class Rescaling:
    """How sums of products become stored numbers: clip(round(sum · multiplier) + zero_point, low, high).

    Attributes:
        multipliers: float32, one per output channel.
        input_zeros: The zero points of the inputs.
        zero_point: That of the output.
        low: The smallest stored number, with the activation.
        high: The largest one.
    """

    multipliers: Array
    input_zeros: tuple[int, ...]
    zero_point: int
    low: int
    high: int

    def store(self, total: Array) -> Array:
        """Return the int8 numbers stored for int32 sums (…, channels)."""
        scaled = np.rint(total.astype(np.float32) * self.multipliers)
        return (np.clip(scaled, self.low - self.zero_point, self.high - self.zero_point) + self.zero_point).astype(
            np.int8
        )


@dataclass(frozen=True)
class Summation:
    """How a · scale ± b · scale becomes a stored number, in integers.

    clip((bias + a · factors[0] + b · factors[1]) >> shift, … ) + zero_point, between low and high; halves upwards.
    """

    factors: tuple[int, int]
    bias: int
    shift: int
    zero_point: int
    low: int
    high: int

    def store(self, a: Array, b: Array) -> Array:
        """Return the int8 numbers stored for the sums of stored numbers."""
        total = self.bias + a.astype(np.int64) * self.factors[0] + b.astype(np.int64) * self.factors[1]
        return np.asarray(np.clip((total >> self.shift) + self.zero_point, self.low, self.high), np.int8)


def _tensor(spec: Spec) -> tuple[np.float32, int]:
    """Scale and zero point of values that are quantized as a whole."""
    quant = spec.quant or QuantParams((1.0,), (0,))
    return np.float32(quant.scale[0]), quant.zero_point[0]


def stored_limits(activation: Activation, output: Spec) -> tuple[int, int]:
    """Return the smallest and largest stored number of an int8 output after its activation."""
    scale, zero = _tensor(output)
    low = LOWEST if activation is None else max(LOWEST, zero)
    if activation != "relu6":
        return low, HIGHEST
    return low, int(np.rint(min(np.float32(6) / scale + np.float32(zero), np.float32(HIGHEST))))


def product_rescaling(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Rescaling:
    """Return the rescaling of Σ x · w (convolutions, dense layers; w may have a scale a channel) or of a · b."""
    (scale, zero), (output_scale, output_zero) = _tensor(inputs[0]), _tensor(outputs[0])
    factor = inputs[1].quant or QuantParams((1.0,), (0,))
    multipliers = scale * np.asarray(factor.scale, np.float32) / output_scale
    channels = outputs[0].shape[-1] if outputs[0].shape else 1
    low, high = stored_limits(getattr(op, "activation", None), outputs[0])
    spread = np.ascontiguousarray(np.broadcast_to(multipliers, (channels,)), np.float32)
    return Rescaling(spread, (zero, factor.zero_point[0]), output_zero, low, high)


def _mean_rescaling(count: int, x: Spec, output: Spec) -> Rescaling:
    (scale, zero), (output_scale, output_zero) = _tensor(x), _tensor(output)
    multiplier = scale / (output_scale * np.float32(count))
    return Rescaling(np.array([multiplier], np.float32), (zero,), output_zero, LOWEST, HIGHEST)


def mean_of_pixels(op: GlobalAvgPool, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Rescaling:
    """Return the rescaling of a sum over all pixels to their mean."""
    return _mean_rescaling(math.prod(inputs[0].shape[1:3]), inputs[0], outputs[0])


def mean_of_axes(op: ReduceMean, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Rescaling:
    """Return the rescaling of a sum over the operator's axes to the mean."""
    return _mean_rescaling(math.prod(inputs[0].shape[axis] for axis in op.axes), inputs[0], outputs[0])


def summation(sign: int) -> Callable[[Op, Sequence[Spec], Sequence[Spec]], Summation]:
    """Return the function that works out a + sign · b."""

    def constants(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Summation:
        zeros = [_tensor(spec)[1] for spec in inputs]
        output_scale, output_zero = _tensor(outputs[0])
        ratios = [float(_tensor(spec)[0] / output_scale) for spec in inputs]
        # The larger factor gets 21 bits; shifts stay where int32 holds every sum.
        shift = min(max(PRECISION - (math.frexp(max(ratios))[1] - 1), 1), 30)
        a, b = (round(math.ldexp(min(ratio, 2.0**20), shift)) for ratio in ratios)
        bias = (1 << (shift - 1)) - a * zeros[0] - sign * b * zeros[1]
        low, high = stored_limits(getattr(op, "activation", None), outputs[0])
        return Summation((a, sign * b), bias, shift, output_zero, low, high)

    return constants


FUNCTIONS: dict[type[Op], Callable[[Array], Array]] = {
    HardSwish: lambda x: x * np.clip(x + np.float32(3), 0, 6) / np.float32(6),
    Relu: lambda x: np.maximum(x, 0),
    Relu6: lambda x: np.clip(x, 0, 6),
    Sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    Tanh: np.tanh,
}
"""Functions of one number, on float32."""


def table(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Array:
    """Return the stored result for each of the 256 stored numbers of x, at its byte.

    Leaky ReLU, and requantization where op is no function, multiply by whole 256ths and round halves upwards.
    """
    (scale, zero), (output_scale, output_zero) = _tensor(inputs[0]), _tensor(outputs[0])
    stored = np.arange(256, dtype=np.uint8).view(inputs[0].numpy_dtype)
    if type(op) in FUNCTIONS:
        real = FUNCTIONS[type(op)]((stored.astype(np.float32) - np.float32(zero)) * scale)
        result = np.rint(real / output_scale).astype(np.int64)
    else:
        slope = np.float32(op.slope if isinstance(op, LeakyRelu) else 1)
        steps = stored.astype(np.int64) - zero
        positive, negative = (int(np.rint(256 * (ratio / output_scale))) for ratio in (scale, scale * slope))
        result = (steps * np.where(steps < 0, negative, positive) + 128) >> 8
    limits = np.iinfo(outputs[0].dtype)
    return np.asarray(np.clip(result + output_zero, limits.min, limits.max), outputs[0].numpy_dtype)


def real_table(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Array:
    """Return the float32 number that each stored byte of x means."""
    scale, zero = _tensor(inputs[0])
    stored = np.arange(256, dtype=np.uint8).view(inputs[0].numpy_dtype)
    return (stored.astype(np.float32) - np.float32(zero)) * scale


def softmax_table(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Array:
    """Return exp(-scale · d) for the distances d = 0 … 255 of stored numbers from the largest one."""
    return np.asarray(np.exp(-_tensor(inputs[0])[0] * np.arange(256, dtype=np.float32)), np.float32)


def zero_point(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
    """Return the zero point of x."""
    return _tensor(inputs[0])[1]


def stored_padding(op: Pad, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
    """Return the stored number of what a padding adds."""
    scale, zero = _tensor(inputs[0])
    return int(np.clip(np.rint(np.float32(op.value) / scale) + zero, LOWEST, HIGHEST))


@dataclass(frozen=True)
class Mixture:
    """Which two input pixels each output pixel of one axis mixes: positions and weights (outputs, 2).

    The weights are whole numbers of 1 / 2^MIXTURE_BITS.
    """

    positions: Array
    weights: Array


def mixtures(op: Resize, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> tuple[Mixture, Mixture]:
    """Return what rows and columns of a resized image are made of."""
    rows, columns = (_mixture(op, s, t) for s, t in zip(inputs[0].shape[1:3], op.size, strict=True))
    return rows, columns


def _mixture(op: Resize, source: int, target: int) -> Mixture:
    index = np.arange(target, dtype=np.float32)
    scale = np.float32((source - 1) / (target - 1) if op.align_corners and target > 1 else source / target)
    exact = (index + np.float32(0.5)) * scale if op.half_pixel_centers else index * scale
    if op.method == "nearest":
        low = np.floor(exact + np.float32(0.5 if op.align_corners else 0))
        part = np.zeros(target)
    else:
        exact = np.clip(exact - np.float32(0.5 if op.half_pixel_centers else 0), 0, source - 1)
        low = np.floor(exact)
        part = np.rint((exact - low) * (1 << MIXTURE_BITS))
    low = np.minimum(low, source - 1).astype(np.int64)
    positions = np.stack([low, np.minimum(low + 1, source - 1)], axis=1)
    return Mixture(positions, np.stack([(1 << MIXTURE_BITS) - part, part], axis=1).astype(np.int64))


def same_parameters(op: Op, *inputs: Spec) -> bool:
    """Tell whether stored numbers of all inputs mean the same, so that they can be compared and joined."""
    return all(spec.quant == inputs[0].quant for spec in inputs)


def without_residual(op: Op, *inputs: Spec) -> bool:
    """Tell whether a convolution has no residual, which 8-bit graphs add by an operator of its own."""
    return len(inputs) <= 3
