"""The model zoo: architectures, and their published weights, labels and preprocessing."""

from __future__ import annotations

from edge_sdk.pretrained.architectures import list_models
from edge_sdk.pretrained.backbone import features
from edge_sdk.pretrained.matching import Match, match
from edge_sdk.pretrained.zoo import load

list = list_models  # noqa: A001 - read as pretrained.list()

__all__ = ["Match", "features", "list", "list_models", "load", "match"]
