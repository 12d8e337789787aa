"""What integer kernels compute with: multipliers and limits worked out of scales and zero points, by profile.

Sums of products are exact in int32. What turns them into stored int8 numbers is a matter of the profile. XNNPACK
multiplies by one float32 and rounds halves to even; or, where a sum of two tensors is stored, shifts integers. The
runtime's own kernels multiply by fixed-point numbers (fixed_point.py), their dense layers by float64. Operators that
XNNPACK leaves to the builtin kernels follow those. docs/quantization-arithmetic.md has the formulas.

16-bit numbers have the zero point 0, and sums of them are exact in int64. XNNPACK takes none of them, and the runtime
has one set of kernels for them: all profiles are alike.
(google/XNNPACK src/microparams-init.c, src/operators; tensorflow/lite/kernels and its internal/.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.op import Op
from edge_sdk.ops.activation import PRelu
from edge_sdk.ops.conv import ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.geometry import Activation
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.shape import Pad
from edge_sdk.quantization.fixed_point import fixed_factors, half_away, high_product, product
from edge_sdk.quantization.profile import Profile
from edge_sdk.spec import HALF_A_BYTE, Array, QuantParams, Spec

LOWEST, HIGHEST = -128, 127
VECTOR = 8  # numbers that the builtin kernels take at once on x86
MEAN_VECTOR = 16  # and their mean of images
AWAY = 3  # the row of fixed-point factors that says how halves are rounded
PRECISION = 20  # bits of the multipliers of a sum
WIDE = "int16"
WIDE_VECTOR = 16  # of them that the builtin kernel of a sum takes at once on x86
WIDE_PRECISION = 15  # bits by which summands of 16 bits are refined
WIDE_MULTIPLIER = 0x7FFF  # the largest one for sums in int64, which has 15 bits
Specs = Sequence[Spec]


def rescaled(total: Array, factors: Array) -> Array:
    """Return whole numbers for sums (…, channels) times factors, whose type says how they are rounded.

    float32 (channels,)     products in float32, halves to even
    float32 (2, channels)   factor and summand: products plus a summand, halves of the sum to even
    float64 (channels,)     products in float64, halves away from zero
    int32 (4, channels)     fixed point: multiplier, left shift, right shift, and whether halves go away from zero
    int64 (2, channels)     fixed point, of int64 sums: multiplier of 15 bits and right shift, halves upwards
    """
    if factors.dtype == np.int64:
        multiplier, shift = factors
        return np.asarray(((total * multiplier + (np.int64(1) << (shift - 1))) >> shift).astype(np.int32))
    if factors.dtype == np.float32:
        factor, summand = factors if factors.ndim == 2 else (factors, np.float32(0))
        return np.asarray(np.rint(total.astype(np.float32) * factor + summand), np.int64)
    if factors.dtype == np.float64:
        return np.asarray(half_away(total * factors), np.int64)
    return product(total, *factors.astype(np.int64))


def fixed(real: Array | np.floating[Any]) -> Array:
    """Return the fixed-point form of factors, whose halves go away from zero."""
    multiplier, shift = fixed_factors(np.atleast_1d(real))
    return np.stack([multiplier, np.maximum(shift, 0), np.maximum(-shift, 0), np.ones_like(shift)]).astype(np.int32)


def wide_fixed(real: Array) -> Array:
    """Return the fixed-point form of factors of int64 sums."""
    multiplier, shift = fixed_factors(np.atleast_1d(real))
    reduced = np.minimum((multiplier + (1 << 15)) >> 16, WIDE_MULTIPLIER)
    return np.stack([reduced, np.maximum(15 - shift, 1)]).astype(np.int64)


@dataclass(frozen=True)
class Rescaling:
    """How sums of products become stored numbers: clip(round(sum · factor) + zero_point, low, high).

    Attributes:
        factors: One per output channel, in one of the forms of `rescaled`.
        input_zeros: The zero points of the inputs.
        zero_point: That of the output.
        low: The smallest stored number, with the activation.
        high: The largest one.
        dtype: The type of the output, int8 or int16.
    """

    factors: Array
    input_zeros: tuple[int, ...]
    zero_point: int
    low: int
    high: int
    dtype: str = "int8"

    def store(self, total: Array) -> Array:
        """Return the numbers stored for sums (…, channels)."""
        stored = np.clip(rescaled(total, self.factors) + self.zero_point, self.low, self.high)
        return np.asarray(stored, self.dtype)


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


@dataclass(frozen=True)
class FixedSummation:
    """The same by the runtime's own kernels: both numbers are rescaled with more bits, added, and rescaled again.

    Attributes:
        factors: Those of a, of b and of the sum, as `rescaled` takes them (…, 1).
        input_zeros: The zero points of a and b.
        sign: 1, or -1 for a difference.
        zero_point: That of the output.
        low: The smallest stored number, with the activation.
        high: The largest one.
        bits: How many more bits: 20, of 16-bit numbers 15.
        dtype: The type of the output, int8 or int16.
        vector: How many numbers of equal shapes are summed at once on x86, with one rounding less; else 1.
    """

    factors: tuple[Array, Array, Array]
    input_zeros: tuple[int, int]
    sign: int
    zero_point: int
    low: int
    high: int
    bits: int = PRECISION
    dtype: str = "int8"
    vector: int = 1

    def store(self, a: Array, b: Array) -> Array:
        """Return the numbers stored for the sums of stored numbers."""
        summands = zip((a, b), self.input_zeros, self.factors[:2], strict=True)
        alone = self._sum(*(rescaled((x.astype(np.int64) - zero) << self.bits, factor) for x, zero, factor in summands))
        if self.vector == 1 or a.shape != b.shape:
            return alone
        together = self._sum(*(self._refined(x, factor) for x, factor in zip((a, b), self.factors[:2], strict=True)))
        whole = np.arange(alone.size).reshape(alone.shape) < alone.size // self.vector * self.vector
        return np.where(whole, together, alone)

    def _refined(self, x: Array, factor: Array) -> Array:
        """Numbers in vectors: shifted by what remains of both shifts, and rounded once."""
        shift = self.bits - int(factor[2, 0])
        moved = x.astype(np.int64) << shift if shift > 0 else x.astype(np.int64) >> -shift
        return high_product(moved, int(factor[0, 0]))

    def _sum(self, left: Array, right: Array) -> Array:
        total = rescaled(left + self.sign * right, self.factors[2])
        return np.asarray(np.clip(total + self.zero_point, self.low, self.high), self.dtype)


def tensor_quant(spec: Spec) -> tuple[np.float32, int]:
    """Return scale and zero point of values that are quantized as a whole."""
    quant = spec.quant or QuantParams((1.0,), (0,))
    return np.float32(quant.scale[0]), quant.zero_point[0]


def stored_limits(activation: Activation, output: Spec, profile: Profile) -> tuple[int, int]:
    """Return the smallest and largest stored number of an int8 or int16 output after its activation."""
    scale, zero = tensor_quant(output)
    lowest, highest = limits_of(output)
    low = lowest if activation is None else max(lowest, zero)
    if activation != "relu6":
        return low, highest
    six = np.float32(6) / scale
    if profile == "xnnpack" and output.dtype != WIDE:
        return low, int(np.rint(min(six + np.float32(zero), np.float32(highest))))
    return low, min(int(half_away(np.asarray(six))) + zero, highest)


def limits_of(output: Spec) -> tuple[int, int]:
    """Return the smallest and the largest number of a spec's type."""
    limits = np.iinfo(output.dtype)
    return int(limits.min), int(limits.max)


def product_rescaling(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> Rescaling:
    """Return the rescaling of Σ x · w (convolutions, dense layers; w may have a scale a channel).

    Sums of 16-bit numbers are int64: in convolutions they meet multipliers of 15 bits, in dense layers float64.
    """
    (scale, zero), (output_scale, output_zero) = tensor_quant(inputs[0]), tensor_quant(outputs[0])
    factor = inputs[1].quant or QuantParams((1.0,), (0,))
    weights = np.asarray(factor.scale, np.float32)
    exact = np.float64(scale) * weights.astype(np.float64) / np.float64(output_scale)
    if profile == "xnnpack" and factor.bits == HALF_A_BYTE and not isinstance(op, Linear):
        profile = "litert"  # XNNPACK leaves weights of 4 bits to the builtin kernels
    if inputs[0].dtype == WIDE:
        profile = "reference"
        factors = exact if isinstance(op, Linear) else wide_fixed(exact)
    elif profile == "xnnpack":
        factors = scale * weights / output_scale
    elif profile == "litert" and isinstance(op, Linear) and len(weights) == 1:
        factors = fixed((scale * weights).astype(np.float64) / np.float64(output_scale))
    elif profile == "reference" and isinstance(op, Linear):
        factors = exact
    else:
        factors = fixed(exact)
    channels = outputs[0].shape[-1]
    factors = np.array(np.broadcast_to(factors, (*factors.shape[:-1], channels)), order="C")
    if profile == "litert":
        factors[AWAY, _stored_by_vectors(op, channels)] = 0
    low, high = stored_limits(getattr(op, "activation", None), outputs[0], profile)
    return Rescaling(factors, (zero, factor.zero_point[0]), output_zero, low, high, outputs[0].dtype)


def _stored_by_vectors(op: Op, channels: int) -> Array:
    """Which channels the builtin kernels store by vectors on x86: of some operators, what fills vectors of eight."""
    if not isinstance(op, DepthwiseConv2D | ConvTranspose2D):
        return np.ones(channels, bool)
    group = channels // op.groups if isinstance(op, ConvTranspose2D) else channels
    return np.arange(channels) % group < group // VECTOR * VECTOR


def multiplication(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> Rescaling:
    """Return the rescaling of the products a · b of two tensors."""
    (a, zero_a), (b, zero_b), (output_scale, zero) = map(tensor_quant, (*inputs, outputs[0]))
    factors = np.atleast_1d(a * b / output_scale)
    low, high = stored_limits(getattr(op, "activation", None), outputs[0], profile)
    in_float = profile == "xnnpack" and outputs[0].dtype != WIDE
    factors = factors if in_float else fixed(factors)
    return Rescaling(factors, (zero_a, zero_b), zero, low, high, outputs[0].dtype)


@dataclass(frozen=True)
class Slopes:
    """How a PReLU stores numbers: x · upper where x ≥ 0, else x · slope · lower.

    Attributes:
        upper: The factor of positive numbers, as `rescaled` takes it (4, 1).
        lower: That of products with a slope.
        input_zeros: The zero points of x and of the slopes.
        zero_point: That of the output.
    """

    upper: Array
    lower: Array
    input_zeros: tuple[int, int]
    zero_point: int

    def store(self, x: Array, slope: Array) -> Array:
        """Return the int8 numbers stored for stored numbers (…, channels) and slopes (channels)."""
        real = x.astype(np.int64) - self.input_zeros[0]
        below = rescaled(real * (slope.astype(np.int64) - self.input_zeros[1]), self.lower)
        result = np.where(real >= 0, rescaled(real, self.upper), below)
        return np.asarray(np.clip(result + self.zero_point, LOWEST, HIGHEST), np.int8)


def slopes(op: PRelu, inputs: Specs, outputs: Specs, profile: Profile) -> Slopes:
    """Return how a PReLU stores numbers: no delegate takes it, all kernels of the runtime compute alike."""
    (scale, zero), (slope_scale, slope_zero), (output_scale, output_zero) = map(tensor_quant, (*inputs, outputs[0]))
    lower = fixed(scale * slope_scale / output_scale)
    return Slopes(fixed(scale / output_scale), lower, (zero, slope_zero), output_zero)


def mean_rescaling(count: int, x: Spec, output: Spec, profile: Profile) -> Rescaling:
    """Return the rescaling of a sum of `count` numbers to their mean."""
    (scale, zero), (output_scale, output_zero) = tensor_quant(x), tensor_quant(output)
    if profile == "xnnpack" and output.dtype != WIDE:
        factor = scale / output_scale * (np.float32(1) / np.float32(count))
        summand = np.float32(output_zero) - np.float32(count * zero) * factor
        return _mean(np.array([[factor], [summand]]), 0, 0, output)
    (multiplier,), (shift,) = fixed_factors(np.atleast_1d(np.float64(scale) / np.float64(output_scale)))
    extra = min(count.bit_length() - 1, 32, 31 + int(shift))  # bits that the division leaves room for
    divided, shift = (int(multiplier) << extra) // count, int(shift) - extra
    factors = np.array([[divided], [max(shift, 0)], [max(-shift, 0)], [1]], np.int32)
    return _mean(factors, zero, output_zero, output)


def _mean(factors: Array, input_zero: int, output_zero: int, output: Spec) -> Rescaling:
    channels = output.shape[-1] if output.shape else 1
    spread = np.array(np.broadcast_to(factors, (len(factors), channels)), order="C")
    return Rescaling(spread, (input_zero,), output_zero, *limits_of(output), output.dtype)


def mean_of_pixels(op: GlobalAvgPool, inputs: Specs, outputs: Specs, profile: Profile) -> Rescaling:
    """Return the rescaling of a sum over all pixels to their mean."""
    return mean_rescaling(math.prod(inputs[0].shape[1:3]), inputs[0], outputs[0], profile)


def mean_of_axes(op: ReduceMean, inputs: Specs, outputs: Specs, profile: Profile) -> Rescaling:
    """Return the rescaling of a sum over the operator's axes to the mean."""
    x, y = inputs[0], outputs[0]
    axes = {axis % x.rank for axis in op.axes}
    count = math.prod(x.shape[axis] for axis in axes)
    if profile == "litert" and op.keep_dims and x.rank == 4 and axes == {1, 2} and y.dtype != WIDE:
        return _optimized_mean(count, x, y)
    return mean_rescaling(count, x, y, profile)


def _optimized_mean(count: int, x: Spec, output: Spec) -> Rescaling:
    """The builtin kernel for images: the zero points become one bias that is rounded by itself."""
    (scale, zero), (output_scale, output_zero) = tensor_quant(x), tensor_quant(output)
    moved = np.float32(zero) * scale / output_scale
    bias = output_zero - int(moved + np.copysign(np.float32(0.5), moved) if moved else moved - np.float32(0.5))
    mean = _mean(fixed(scale / (np.float32(count) * output_scale)), 0, bias, output)
    mean.factors[AWAY, : output.shape[-1] // MEAN_VECTOR * MEAN_VECTOR] = 0
    return mean


def summation(sign: int) -> Callable[[Op, Specs, Specs, Profile], Summation | FixedSummation]:
    """Return the function that works out a + sign · b."""

    def constants(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> Summation | FixedSummation:
        (scale_a, zero_a), (scale_b, zero_b), (output_scale, zero) = map(tensor_quant, (*inputs, outputs[0]))
        low, high = stored_limits(getattr(op, "activation", None), outputs[0], profile)
        ratios = [float(scale / output_scale) for scale in (scale_a, scale_b)]
        wide = outputs[0].dtype == WIDE
        if (
            wide or profile != "xnnpack" or not all(2.0**-10 <= ratio < 2.0**8 for ratio in ratios)
        ):  # others it does not take
            largest = np.float64(np.float32(2) * max(scale_a, scale_b))
            bits = WIDE_PRECISION if wide else PRECISION
            real = (scale_a / largest, scale_b / largest, largest / (np.float64(output_scale) * (1 << bits)))
            factors = (fixed(np.float64(real[0])), fixed(np.float64(real[1])), fixed(np.float64(real[2])))
            vector = WIDE_VECTOR if wide and sign > 0 and profile != "reference" else 1
            return FixedSummation(factors, (zero_a, zero_b), sign, zero, low, high, bits, outputs[0].dtype, vector)
        # The larger factor gets 21 bits; shifts stay where int32 holds every sum.
        shift = min(max(PRECISION - (math.frexp(max(ratios))[1] - 1), 1), 30)
        a, b = (round(math.ldexp(min(ratio, 2.0**20), shift)) for ratio in ratios)
        bias = (1 << (shift - 1)) - a * zero_a - sign * b * zero_b
        return Summation((a, sign * b), bias, shift, zero, low, high)

    return constants


def zero_point(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> int:
    """Return the zero point of x."""
    return tensor_quant(inputs[0])[1]


def stored_padding(op: Pad, inputs: Specs, outputs: Specs, profile: Profile) -> int:
    """Return the stored number of what a padding adds."""
    scale, zero = tensor_quant(inputs[0])
    return int(np.clip(np.rint(np.float32(op.value) / scale) + zero, *limits_of(inputs[0])))


def same_parameters(op: Op, *inputs: Spec) -> bool:
    """Tell whether stored numbers of all inputs mean the same, so that they can be compared and joined."""
    return all(spec.quant == inputs[0].quant for spec in inputs)


def without_residual(op: Op, *inputs: Spec) -> bool:
    """Tell whether a convolution has no residual, which 8-bit graphs add by an operator of its own."""
    return len(inputs) <= 3
