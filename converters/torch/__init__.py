"""Reader of PyTorch checkpoints, without PyTorch and without running what a file names."""

from __future__ import annotations

from edge_sdk.converters.torch.state_dict import read_state_dict

__all__ = ["read_state_dict"]
