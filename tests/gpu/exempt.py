"""Operators that have no CUDA kernel, each with its reason."""

from __future__ import annotations

EXEMPT: dict[str, str] = {}
