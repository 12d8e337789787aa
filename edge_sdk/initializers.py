"""Initial weights: deterministic in the seed and the parameter's name, so that one layer more changes no other."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np

from edge_sdk.spec import Array

PIECE = 1 << 18
"""Numbers drawn at a time: a layer's weights are never held in float64 as a whole."""


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers that belong to a parameter name under a seed."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")])


def he_normal(random: np.random.Generator, shape: tuple[int, ...], fan: int) -> Array:
    """Normal with variance 2 / fan (He et al. 2015), for layers before a ReLU."""
    scale = math.sqrt(2 / fan)
    return _drawn(shape, lambda count: random.standard_normal(count) * scale)


def xavier_uniform(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Uniform within ± √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return _drawn(shape, lambda count: random.uniform(-bound, bound, count))


def truncated_normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Array:
    """Normal, drawn anew beyond two deviations."""
    drawn = random.standard_normal(shape)
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = random.standard_normal(int(outside.sum()))
    return (drawn * deviation).astype(np.float32)


def constant(shape: tuple[int, ...], value: float) -> Array:
    """The same value everywhere."""
    return np.full(shape, value, np.float32)


def _drawn(shape: tuple[int, ...], draw: Callable[[int], Array]) -> Array:
    """Float32 numbers from a generator of float64 ones, which gives the same row of numbers in pieces as at once."""
    result = np.empty(shape, np.float32)
    flat = result.reshape(-1)
    for first in range(0, flat.size, PIECE):
        part = flat[first : first + PIECE]
        part[...] = draw(part.size)
    return result
