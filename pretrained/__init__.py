"""The model zoo: architectures, and their published weights, labels and preprocessing."""

from __future__ import annotations

from edge_sdk.pretrained.architectures import list_models
from edge_sdk.pretrained.backbone import features
from edge_sdk.pretrained.zoo import load

__all__ = ["features", "list_models", "load"]
