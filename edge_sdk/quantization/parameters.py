"""Scales and zero points, by the rules of TFLite's specification of 8 bits, and of 16 for activations
(https://ai.google.dev/edge/litert/models/quantization_spec).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.spec import Array, QuantParams

LOWEST, STEPS = -128, 255
"""Of int8: the smallest stored number, and how many steps it is to the largest one."""
LARGEST_WIDE = 32767
"""Of int16, whose ranges are symmetric."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest value seen."""

    low: float
    high: float

    def union(self, other: Range) -> Range:
        """The range that covers both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def activation_parameters(seen: Range, symmetric: bool = False, stored: str = "int8") -> QuantParams:
    """Return parameters that cover a range and 0, which padding and ReLU need to be exact.

    Asymmetric ones use all 256 steps of int8; symmetric ones have the zero point 0 and steps as far to either side.
    Those of int16 are always symmetric.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    symmetric = symmetric or stored == "int16"
    largest = LARGEST_WIDE if stored == "int16" else 127
    scale = float(np.float32(max(-low, high) / largest if symmetric else (high - low) / 255))
    if scale < np.finfo(np.float32).tiny:  # all zero, or as good as
        return QuantParams((1.0,), (0,))
    return QuantParams((scale,), (0 if symmetric else int(np.clip(round(-128 - low / scale), -128, 127)),))


def widened(quant: QuantParams) -> QuantParams:
    """Return int16 parameters in which every number of int8 ones is stored exactly: smaller by a power of two."""
    (scale,), (zero,) = quant.scale, quant.zero_point
    factor = 2 ** int(np.log2(LARGEST_WIDE / max(zero + 128, 127 - zero)))
    return QuantParams((scale / factor,), (0,))


def narrowed(quant: QuantParams, *, positive: bool) -> QuantParams:
    """Return int8 parameters of the range that int16 ones have, or of its half from 0 on."""
    (scale,) = quant.scale
    steps, zero = (STEPS, LOWEST) if positive else (127, 0)
    return QuantParams((float(np.float32(scale * LARGEST_WIDE / steps)),), (zero,))


def largest_weight(bits: int) -> int:
    """Return the largest stored weight; the smallest is as far from 0."""
    return int(2 ** (bits - 1)) - 1


def weight_parameters(weights: Array, axis: int | None, bits: int = 8) -> QuantParams:
    """Return symmetric parameters by the largest magnitude, per index of `axis` or for the tensor."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others, initial=0) if axis is not None else np.abs(weights).max()
    scale = (np.where(largest > 0, largest, 1) / largest_weight(bits)).astype(np.float32)
    scales = tuple(float(s) for s in np.asarray(scale).reshape(-1))
    return QuantParams(scales, (0,) * len(scales), axis, bits)


def along_axis(numbers: Sequence[float], axis: int | None, rank: int) -> Array:
    """Return the scales of a tensor as float32, in a shape that broadcasts against it."""
    shape = [-1 if index == axis else 1 for index in range(rank)]
    return np.asarray(numbers, np.float32).reshape(shape)


def round_weights(weights: Array, quant: QuantParams) -> Array:
    """Return the int8 weights nearest to real ones: in [-127, 127], or in [-7, 7] where they have 4 bits."""
    largest, scale = largest_weight(quant.bits), along_axis(quant.scale, quant.axis, weights.ndim)
    return np.clip(np.round(weights / scale), -largest, largest).astype(np.int8)


def quantize_weights(weights: Array, axis: int | None) -> tuple[Array, QuantParams]:
    """Return symmetric int8 weights in [-127, 127] and their parameters, per index of `axis` or for the tensor."""
    quant = weight_parameters(weights, axis)
    return round_weights(weights, quant), quant


def bias_type(activations: str) -> np.dtype[Any]:
    """Return the type of the biases under activations of a type, that of the sums: int32, under int16 int64."""
    return np.dtype(np.int64 if activations == "int16" else np.int32)


def quantize_bias(
    bias: Array, input_scale: float, weights: QuantParams, activations: str = "int8"
) -> tuple[Array, QuantParams]:
    """Return biases in the type of the sums, whose scale is input scale · weight scale.

    Those of 64 bits stay below 2^40, so that no sum leaves the 48 bits that runtimes multiply.
    """
    scales = np.float32(input_scale) * np.asarray(weights.scale, np.float32)
    limit = 2**40 if activations == "int16" else 2**31 - 1
    stored = np.clip(np.round(bias.astype(np.float64) / scales.astype(np.float64)), -limit, limit)
    stored = stored.astype(bias_type(activations))
    axis = None if weights.axis is None else 0
    return stored, QuantParams(tuple(float(s) for s in scales), (0,) * len(scales), axis)
