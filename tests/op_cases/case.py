"""One row of the operator table: everything the generated tests need to know about one use of an operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.op import Op
from edge_sdk.spec import Array


@dataclass(frozen=True)
class Case:
    """An operator with inputs and an oracle that is not our own code.

    `oracle(*inputs)` gets the inputs as float64 (integers as they are) and returns the expected output, or a tuple.
    `differentiable` lists the inputs whose gradient is checked by directional derivative in float64; the row's inputs
    must lie away from kinks. `oracle_tolerance` and `tolerance` are relative to the largest expected magnitude.
    """

    name: str
    op: Op
    inputs: tuple[Array, ...]
    oracle: Callable[..., Any]
    differentiable: tuple[int, ...] = ()
    oracle_tolerance: float = 1e-6
    tolerance: float = 1e-5
    symbolic_batch: bool = False
    """Whether the first dimension of the first input may be declared symbolic in the TFLite and JSON tests."""

    def __str__(self) -> str:
        return self.name


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Seeded standard normal float32 numbers of a shape."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def away_from(values: Array, *kinks: float, margin: float = 0.05) -> Array:
    """Move the values that lie within `margin` of a kink just outside it, so that finite differences are smooth."""
    for kink in kinks:
        near = np.abs(values - kink) < margin
        values = np.where(near, kink + np.where(values >= kink, margin, -margin), values).astype(np.float32)
    return values
