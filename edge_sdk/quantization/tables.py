"""Functions of one stored number as tables of all its values, 256 or 65536, by profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Tanh
from edge_sdk.ops.quantization import Quantize
from edge_sdk.quantization.arithmetic import AWAY, VECTOR, WIDE, fixed, rescaled, stored_limits, tensor_quant
from edge_sdk.quantization.fixed_point import divided, exponential, fixed_factors, half_away, high_product
from edge_sdk.quantization.profile import Profile
from edge_sdk.quantization.wide_tables import logistic_steps, tanh_steps
from edge_sdk.spec import Array, Spec

Specs = Sequence[Spec]
REQUANTIZED_AT_ONCE = 16  # by the builtin kernels on x86

FUNCTIONS: dict[type[Op], Callable[[Array], Array]] = {Sigmoid: lambda x: 1 / (1 + np.exp(-x)), Tanh: np.tanh}
"""Functions of one number, which all kernels take from a table of float32 results."""

WIDE_FUNCTIONS: dict[type[Op], Callable[[Array, np.float32], Array]] = {Sigmoid: logistic_steps, Tanh: tanh_steps}
"""The same of 16-bit numbers."""


@dataclass(frozen=True)
class Lookup:
    """What is stored for each of the stored numbers of x, at its byte or its two taken as a whole number.

    Attributes:
        values: (2, 256) or (2, 65536): the results of numbers in whole vectors, and those of the numbers that are left.
        vector: How many the builtin kernels take at once on x86, where they compute both differently; else 1.
    """

    values: Array
    vector: int

    def store(self, x: Array) -> Array:
        """Return the results of stored numbers."""
        stored, whole = places(x), x.size // self.vector * self.vector
        return np.concatenate([self.values[0][stored[:whole]], self.values[1][stored[whole:]]]).reshape(x.shape)


def places(x: Array) -> Array:
    """Return stored numbers, flat, as places in a table."""
    return x.view(np.uint8 if x.itemsize == 1 else np.uint16).reshape(-1)


def _all_numbers(x: Spec) -> Array:
    """All numbers of a spec's type, each at its place."""
    return np.arange(1 << 8 * x.numpy_dtype.itemsize).astype(f"uint{8 * x.numpy_dtype.itemsize}").view(x.numpy_dtype)


def table(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> Lookup:
    """Return the table of a function of one number, or of a requantization where op is no function.

    XNNPACK multiplies whole 256ths for leaky ReLU and requantizations, halves upwards. It leaves to the builtin kernels
    ReLU between different scales, always hard swish, and what has 16 bits. Those multiply by fixed-point numbers.
    """
    (scale, zero), (output_scale, output_zero) = tensor_quant(inputs[0]), tensor_quant(outputs[0])
    if WIDE in (inputs[0].dtype, outputs[0].dtype):
        profile = "reference"
    steps = _all_numbers(inputs[0]).astype(np.int64) - zero
    slope = np.float32(op.slope if isinstance(op, LeakyRelu) else 1)
    limits = np.iinfo(outputs[0].dtype)
    low, high, vector = int(limits.min), int(limits.max), 1
    if type(op) in WIDE_FUNCTIONS and inputs[0].dtype == WIDE:
        result = WIDE_FUNCTIONS[type(op)](steps, scale)
    elif type(op) in FUNCTIONS:
        result = np.rint(FUNCTIONS[type(op)](steps.astype(np.float32) * scale) / output_scale)
    elif isinstance(op, HardSwish):
        result = hard_swish_steps(steps, scale, output_scale)
    elif profile == "xnnpack" and isinstance(op, LeakyRelu | Quantize) and _in_256ths(scale, slope, output_scale):
        positive, negative = (int(np.rint(256 * (ratio / output_scale))) for ratio in (scale, scale * slope))
        result = (steps * np.where(steps < 0, negative, positive) + 128) >> 8
    else:
        result = _fixed_slopes(steps, scale, slope, output_scale)
    if isinstance(op, Quantize) and WIDE in (inputs[0].dtype, outputs[0].dtype):  # its ratio of scales has 53 bits
        result = rescaled(steps, fixed(np.float64(scale) / np.float64(output_scale)))
    if isinstance(op, Relu | Relu6):
        low, high = stored_limits("relu" if isinstance(op, Relu) else "relu6", outputs[0], "reference")
    both = np.stack([result, result])
    if profile == "litert" and isinstance(op, Quantize):
        vector, both[0] = REQUANTIZED_AT_ONCE, rescaled(steps, _upwards(scale / output_scale))
    return Lookup(np.clip(both + output_zero, low, high).astype(outputs[0].numpy_dtype), vector)


def _in_256ths(scale: np.float32, slope: np.float32, output_scale: np.float32) -> bool:
    """Tell whether XNNPACK takes factors as they are, neither too small nor too large for its 16 bits."""
    return all(2.0**-8 <= abs(ratio / output_scale) <= 2.0**7 for ratio in (scale, scale * slope))


def _upwards(real: np.float32) -> Array:
    factors = fixed(real)
    factors[AWAY] = 0
    return factors


def _fixed_slopes(steps: Array, scale: np.float32, slope: np.float32, output_scale: np.float32) -> Array:
    """Return slope · x where x < 0 and x elsewhere, in steps of the output."""
    negative = scale * slope / output_scale
    below = np.sign(negative) * rescaled(steps, fixed(np.abs(negative)))
    return np.asarray(np.where(steps < 0, below, rescaled(steps, fixed(scale / output_scale))), np.int64)


def hard_swish_steps(steps: Array, scale: np.float32, output_scale: np.float32) -> Array:
    """Return x · relu6(x + 3) / 6 in steps of the output, by products of 16 bits (reference/hard_swish.h)."""
    fine = np.float32(1 / 128) * scale
    (multiplier,), (exponent,) = fixed_factors(np.atleast_1d(np.float64(fine / output_scale)))
    (gate_multiplier,), (gate_exponent,) = fixed_factors(
        np.atleast_1d(np.float64(fine / (np.float32(3) / np.float32(32768))))
    )
    x = steps << 7
    value = _high_product_16(x, _upper_half(int(multiplier)))
    gate = x
    if gate_exponent > 0:
        gate = _saturated_16(gate << (gate_exponent - 1))
    gate = _high_product_16(gate, _upper_half(int(gate_multiplier)))
    if gate_exponent > 0:
        gate = _saturated_16(gate << 1)
    if gate_exponent < 0:
        gate = divided(gate, -gate_exponent)
    product = ((gate + (1 << 15)) >> 1) * value
    halved = np.where(product >= 0, product >> 15, -((-product) >> 15))  # towards zero
    return divided(halved, -exponent)


def _saturated_16(x: Array) -> Array:
    return np.clip(x, -(2**15), 2**15 - 1)


def _upper_half(multiplier: int) -> int:
    """The upper 16 bits, rounded, of a multiplier with 31."""
    return min((multiplier + (1 << 15)) >> 16, 2**15 - 1)


def _high_product_16(a: Array, b: int) -> Array:
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.where(nudged >= 0, nudged >> 15, -((-nudged) >> 15))


def real_table(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> Lookup:
    """Return the float32 number that each stored number of x means."""
    scale, zero = tensor_quant(inputs[0])
    stored = _all_numbers(inputs[0]).astype(np.float32)
    alone = (stored - np.float32(zero)) * scale
    together = stored * scale + np.float32(-zero * np.float64(scale)) if profile == "litert" else alone
    return Lookup(np.stack([together, alone]), VECTOR)


def softmax_table(op: Op, inputs: Specs, outputs: Specs, profile: Profile) -> Array:
    """Return exp(-scale · d) for the distances d = 0 … 255 of stored numbers from the largest one.

    It is float32, or for the reference kernels int32 with 31 binary places.
    """
    scale = tensor_quant(inputs[0])[0]
    distance = np.arange(256)
    if profile != "reference":
        return np.asarray(np.exp(-scale * distance.astype(np.float32)), np.float32)
    (multiplier,), (shift,) = fixed_factors(np.atleast_1d(min(float(scale) * (1 << 26), 2.0**31 - 1)))
    largest = math.floor(31 * (1 << 26) / (1 << int(shift)))  # beyond it exp is nothing
    fine = -high_product(-np.minimum(distance, largest) << int(shift), int(multiplier))
    return np.where(distance <= largest, exponential(fine), 0).astype(np.int32)


@dataclass(frozen=True)
class Border:
    """How real numbers become stored ones.

    XNNPACK multiplies by 1 / scale and rounds halves to even; the naive kernels divide, and round them away from zero.
    The builtin kernels on x86 multiply vectors of eight, and divide what is left in float64, both with halves away from
    zero.
    """

    scale: np.float32
    profile: Profile

    @property
    def inverse(self) -> np.float32:
        """1 / scale."""
        return np.float32(1) / self.scale

    def steps(self, x: Array, *, together: bool) -> Array:
        """Return float32 numbers x as whole steps; `together` they fill vectors."""
        if self.profile == "xnnpack":
            return np.asarray(np.rint(x * self.inverse), np.float64)
        if self.profile == "litert" and together:
            product = x * self.inverse
            return np.asarray(np.trunc(product + np.copysign(np.float32(0.5), product)), np.float64)
        quotient = x / (self.scale if self.profile == "reference" else np.float64(self.scale))
        return half_away(quotient.astype(np.float64))


def border(op: Quantize, inputs: Specs, outputs: Specs, profile: Profile) -> Border:
    """Return how real numbers become stored ones."""
    taken = op.dtype != WIDE  # XNNPACK leaves 16 bits to the builtin kernels
    return Border(np.float32(op.scale), profile if taken or profile != "xnnpack" else "litert")
