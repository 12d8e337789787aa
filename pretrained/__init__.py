"""The model zoo: architectures, and their published weights, labels and preprocessing."""

from __future__ import annotations

from edge_sdk.pretrained.zoo import list_models, load

__all__ = ["list_models", "load"]
