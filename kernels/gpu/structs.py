"""Structures that kernels take by value."""

from __future__ import annotations

from typing import Any

import numpy as np


def structure(dtype: np.dtype[Any], *fields: Any) -> np.void:
    """Return a structure of a dtype from its fields in order."""
    held = np.zeros(1, dtype)
    held[0] = fields
    value: np.void = held[0]
    return value
