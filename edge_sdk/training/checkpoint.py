"""Where a training run stands, in one file: arrays, position in the data, figures so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.errors import FormatError
from edge_sdk.workspace import Workspace

FORMAT_VERSION = 1


@dataclass(frozen=True)
class EpochMetrics:
    """Figures of one finished epoch."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    learning_rate: float
    device: str = "cpu"


@dataclass(frozen=True)
class Progress:
    """The position of a run: the next batch, the sums of the unfinished epoch, the epochs done and the best of them."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    history: tuple[EpochMetrics, ...] = ()
    best_epoch: int | None = None
    best_accuracy: float = -1.0


@dataclass(frozen=True)
class Checkpoint:
    """A position, the arrays of the training graph at it, and the settings that must be the same to go on."""

    progress: Progress
    workspace: Workspace
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all: a run killed while saving keeps the one before."""
        from safetensors.numpy import save

        progress = json.dumps(asdict(self.progress))
        settings = json.dumps(dict(self.settings), sort_keys=True)
        metadata = {"checkpoint": str(FORMAT_VERSION), "progress": progress, "settings": settings}
        atomic_write_bytes(path, save({k: np.asarray(v, order="C") for k, v in self.workspace.items()}, metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; raises FormatError for a file that is none or is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("checkpoint") != str(FORMAT_VERSION):
                raise FormatError(f"{path}: not a checkpoint of this edge-sdk (format {metadata.get('checkpoint')!r})")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        data = json.loads(metadata["progress"])
        history = tuple(EpochMetrics(**entry) for entry in data.pop("history"))
        return Checkpoint(Progress(**data, history=history), Workspace(arrays), json.loads(metadata["settings"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path}: the checkpoint cannot be read ({error}); start the run anew without resume"
        ) from error
