"""Functions of 16-bit numbers as the mobile runtime computes them: in whole numbers, between points of small tables.

(tensorflow/lite/kernels/activations.cc, internal/common.h, internal/reference/softmax.h and integer_ops/.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.op import Op
from edge_sdk.quantization.arithmetic import fixed, rescaled, tensor_quant
from edge_sdk.quantization.fixed_point import half_away
from edge_sdk.quantization.profile import Profile
from edge_sdk.spec import Array, Spec

ONE = 32767
INTERVALS = 512  # of the tables that softmax reads between
REACH = 10.0  # softmax counts exp(-10) and less as that
_LARGEST_LEFT_SHIFT = 30
_POWER_OF_TWO = np.float32(1e-3)  # how far the logarithm of a scale may be from a whole number


def _logistic_points() -> Array:
    """sigmoid(i / 24) with 16 binary places, raised by half of what a line to the next point lies below the curve."""
    here, middle, following = (65536 / (1 + np.exp(-(np.arange(256) + more) / 24)) for more in (0, 0.5, 1))
    points = half_away(here + (middle - (here + following) / 2) / 2).astype(np.int64)
    points[-1] = 65535
    return points


_POINTS = _logistic_points()


def logistic_steps(steps: Array, scale: np.float32) -> Array:
    """Return sigmoid(x) of stored numbers x, in steps of 1 / 32768."""
    argument, distance = _argument(steps, scale, (0,))
    place = np.minimum(distance >> 9, 254)
    between = (_POINTS[place] << 9) + (distance & 511) * (_POINTS[place + 1] - _POINTS[place])
    share = np.where(distance >> 9 >= 255, 0x7FFF << 10, between)
    return np.asarray(np.where(argument >= 0, share + (1 << 9), (1 << 25) - share + (1 << 9) - 1) >> 10)


def tanh_steps(steps: Array, scale: np.float32) -> Array:
    """Return tanh(x) = 2 · sigmoid(2 · x) - 1 of stored numbers x, in steps of 1 / 32768."""
    argument, distance = _argument(steps, scale, (0, 1))
    place = np.minimum(distance >> 8, 254)
    between = (_POINTS[place] << 8) + (distance & 255) * (_POINTS[place + 1] - _POINTS[place])
    share = np.where(distance >> 8 >= 255, 0xFFFF << 8, between)
    half = 1 << 7
    return np.asarray(np.where(argument >= 0, share - (1 << 23) + half, (1 << 23) - share + half - 1) >> 8)


def _argument(steps: Array, scale: np.float32, exact: tuple[int, ...]) -> tuple[Array, Array]:
    """Return x in steps of 1 / (3 · 4096), and how far that is from 0.

    Scales of 2^(shift - 12), with the shift among `exact`, are multiplied by 3 · 2^shift.
    """
    logarithm = np.log(scale) * (np.float32(1) / np.log(np.float32(2)))
    rounded = half_away(np.asarray(logarithm))
    shift = int(rounded) + 12
    if abs(logarithm - np.float32(rounded)) < _POWER_OF_TWO and shift in exact:
        argument = steps * (3 << shift)
    else:
        factor, right = float(scale) * 4096.0 * 3.0, 0
        while factor <= 32767.0 / 2.0 and right <= _LARGEST_LEFT_SHIFT:
            factor, right = factor * 2.0, right + 1
        argument = (steps * int(factor) + ((1 << right) >> 1)) >> right
    return argument, np.abs(argument)


@dataclass(frozen=True)
class Shares:
    """How a softmax of 16-bit numbers is computed.

    Attributes:
        powers: exp(-scale · d) with 15 binary places, for the distances d = 0 … 65535 from the largest number.
        reciprocals: The 513 points of 1 / (1 + x) over [0, 1], with 15 binary places.
    """

    powers: Array
    reciprocals: Array

    def store(self, x: Array) -> Array:
        """Return the int16 shares of stored numbers (…, classes), in steps of 1 / 32768."""
        powers = self.powers[x.max(axis=-1, keepdims=True).astype(np.int64) - x].astype(np.int64)
        total = powers.sum(axis=-1, keepdims=True)
        headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of 32 bits
        above = (((total << (headroom - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
        reciprocal = between_points(np.clip(above, -ONE - 1, ONE), self.reciprocals)
        shift = 31 - headroom
        shares = (powers * reciprocal + (np.int64(1) << (shift - 1))) >> shift
        return np.asarray(np.clip(shares, 0, ONE), np.int16)


def softmax_shares(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec], profile: Profile) -> Shares:
    """Return how a softmax is computed; all kernels of the runtime compute it alike."""
    scale = tensor_quant(inputs[0])[0]
    factor = fixed(np.float64(scale) / (REACH / 65535.0))
    away = rescaled(-np.arange(65536, dtype=np.int64), factor)
    argument = np.clip(away + ONE, -ONE - 1, ONE)
    powers = between_points(argument, _points(np.exp, -REACH, 0.0))
    return Shares(powers.astype(np.int16), _points(lambda x: 1.0 / (1.0 + x), 0.0, 1.0).astype(np.int16))


def between_points(argument: Array, points: Array) -> Array:
    """Return what lies between the points of a table for int16 arguments; 7 bits say where."""
    place, rest = (argument >> 7) + 256, argument & 127
    base = points[place].astype(np.int64)
    return np.asarray(base + (((points[place + 1].astype(np.int64) - base) * rest + 64) >> 7))


def _points(function: Callable[[Array], Array], low: float, high: float) -> Array:
    """Return 513 points of a function, with 15 binary places, moved to halve the error of the lines between them."""
    # The ends are those that int16 arguments of this scale and zero point have, in the order of the runtime's sums.
    scale = (high - low) / 65535
    zero = ONE if high == 0 else -ONE - 1
    first, last = scale * (-ONE - 1 - zero), scale * (ONE - zero)
    step = (last - first) / INTERVALS
    unit = 2.0 / 65535
    factor = 65536 / (unit * ONE - unit * (-ONE - 1))
    at = first + np.arange(INTERVALS) * step
    here, middle = (half_away(function(x) * factor) for x in (at, at + step / 2))
    following = function(first + np.arange(1, INTERVALS + 1) * step) * factor
    error = half_away((following + half_away(function(at) * factor)) / 2) - middle
    moved = here - half_away(error / 2)
    end = half_away(np.asarray([function(np.asarray(last)) * factor]))
    return np.asarray(np.clip(np.concatenate([moved, end]), -ONE - 1, ONE), np.int64)
