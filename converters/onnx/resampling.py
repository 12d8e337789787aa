"""ONNX's ways to resize an axis, each as a matrix: what every output element takes of every input element.

Source: the specification of Resize, https://onnx.ai/onnx/operators/onnx__Resize.html.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge_sdk.errors import FormatError
from edge_sdk.spec import Array


@dataclass(frozen=True)
class Rule:
    """The attributes of Resize that say how positions are mapped and what is taken there."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


def matrix(
    rule: Rule, size: int, new_size: int, scale: float, region: tuple[float, float]
) -> tuple[Array, Array | None]:
    """Return the weights (new_size, size), and what is added where the position lies outside, or None."""
    weights = np.zeros((new_size, size))
    outside = np.zeros(new_size)
    for index in range(new_size):
        position = _position(rule, index, size, new_size, scale, region)
        if rule.coordinates == "tf_crop_and_resize" and not 0 <= position <= size - 1:
            outside[index] = rule.extrapolation
            continue
        _add_taps(rule, weights[index], position, min(scale, 1.0))
    return weights, outside if rule.coordinates == "tf_crop_and_resize" else None


def _position(rule: Rule, i: int, size: int, new_size: int, scale: float, region: tuple[float, float]) -> float:
    """Where output element i reads."""
    if rule.coordinates == "align_corners":
        return 0.0 if new_size == 1 else i * (size - 1) / (scale * size - 1)
    if rule.coordinates == "asymmetric":
        return i / scale
    if rule.coordinates == "half_pixel":
        return (i + 0.5) / scale - 0.5
    if rule.coordinates == "half_pixel_symmetric":
        adjustment = new_size / (scale * size)
        return size / 2 * (1 - adjustment) + (i + 0.5) / scale - 0.5
    if rule.coordinates == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if new_size > 1 else -0.5
    if rule.coordinates == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if rule.coordinates == "tf_crop_and_resize":
        start, end = region
        if new_size == 1:
            return 0.5 * (start + end) * (size - 1)
        return start * (size - 1) + i * (end - start) * (size - 1) / (new_size - 1)
    raise FormatError(f"coordinate_transformation_mode {rule.coordinates!r} is not known")


def _add_taps(rule: Rule, row: Array, position: float, scale: float) -> None:
    size = len(row)
    if rule.mode == "nearest":
        row[min(max(_nearest(rule, position), 0), size - 1)] = 1
        return
    if rule.mode not in ("linear", "cubic"):
        raise FormatError(f"mode {rule.mode!r} is not known")
    stretch = scale if rule.antialias else 1.0
    reach = (1 if rule.mode == "linear" else 2) / stretch
    taps = np.arange(math.floor(position - reach) + 1, math.ceil(position + reach))
    if not len(taps):
        taps = np.array([math.floor(position)])
    distances = np.abs(taps - position) * stretch
    values = np.maximum(1 - distances, 0) if rule.mode == "linear" else _cubic(distances, rule.cubic)
    if rule.exclude_outside:
        values = np.where((taps >= 0) & (taps < size), values, 0)
    if rule.exclude_outside or rule.antialias:
        values = values / values.sum()
    np.add.at(row, np.clip(taps, 0, size - 1), values)


def _nearest(rule: Rule, position: float) -> int:
    whole = {
        "round_prefer_floor": math.ceil(position - 0.5),
        "round_prefer_ceil": math.floor(position + 0.5),
        "floor": math.floor(position),
        "ceil": math.ceil(position),
    }
    if rule.nearest not in whole:
        raise FormatError(f"nearest_mode {rule.nearest!r} is not known")
    return whole[rule.nearest]


def _cubic(distances: Array, a: float) -> Array:
    """Keys' kernel (1981)."""
    near = ((a + 2) * distances - (a + 3)) * distances**2 + 1
    far = ((a * distances - 5 * a) * distances + 8 * a) * distances - 4 * a
    return np.where(distances <= 1, near, np.where(distances < 2, far, 0))
