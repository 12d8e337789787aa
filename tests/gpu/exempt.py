"""Operators that have no CUDA kernel for some kind of numbers, each with its reason."""

from __future__ import annotations

from edge_sdk.kernel import Stored

EXEMPT: dict[tuple[str, Stored | None], str] = {}
"""By operator and by what it computes on: stored integers, or None for plain numbers."""
