"""Rows of photos on their way into a network: the formula, number by number."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.pixels import NormalisePixels
from edge_sdk.spec import Array
from op_cases.case import Case

BYTES = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)


def _formula(pixels: Array, mean: Array, std: Array) -> Array:
    numbers = [(float(p) - mean[i % len(mean)]) / std[i % len(std)] for i, p in enumerate(pixels.reshape(-1))]
    return np.array(numbers).reshape(pixels.shape)


def _case(name: str, pixels: Array, mean: list[float], std: list[float]) -> Case:
    inputs = (pixels, np.array(mean, np.float32), np.array(std, np.float32))
    return Case(name, NormalisePixels(), inputs, _formula, symbolic_batch=True)


CASES = [
    _case("normalise-pixels", BYTES, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    _case("normalise-pixels-grey", BYTES[:, :4, :, :1], [127.5], [127.5]),
    _case("normalise-pixels-five-channels", BYTES.reshape(3, 7, 3, 5), [1, 2, 3, 4, 5], [1, 2, 4, 8, 16]),
]
