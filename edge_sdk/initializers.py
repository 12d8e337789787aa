"""Initial weights: deterministic in the seed and the parameter's name, so that one layer more changes no other."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from edge_sdk.spec import Array


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers that belong to a parameter name under a seed."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")])


def he_normal(random: np.random.Generator, shape: tuple[int, ...], fan: int) -> Array:
    """Normal with variance 2 / fan (He et al. 2015), for layers before a ReLU."""
    return (random.standard_normal(shape) * math.sqrt(2 / fan)).astype(np.float32)


def xavier_uniform(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Uniform within ± √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return random.uniform(-bound, bound, shape).astype(np.float32)


def truncated_normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Array:
    """Normal, drawn anew beyond two deviations."""
    drawn = random.standard_normal(shape)
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = random.standard_normal(int(outside.sum()))
    return (drawn * deviation).astype(np.float32)


def constant(shape: tuple[int, ...], value: float) -> Array:
    """The same value everywhere."""
    return np.full(shape, value, np.float32)
