"""The folder of a training run: models, metrics and the checkpoint from which it goes on."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.errors import UsageError
from edge_sdk.model import Model
from edge_sdk.training.checkpoint import Checkpoint, Progress, load_checkpoint
from edge_sdk.training.step import TrainingStep

CHECKPOINT = "last.checkpoint"
BEST = "best.edge"
LAST = "last.edge"
METRICS = "metrics.jsonl"
CHECKPOINT_SECONDS = 60.0
SHORT_EPOCH_SECONDS = 2.0
"""Epochs that come faster are not written one by one: a kill costs so much work at most."""


class Interrupted(KeyboardInterrupt):
    """Training was interrupted; a checkpoint lies in `folder` (None when the run writes no files)."""

    def __init__(self, folder: Path | None, epoch: int, batch: int) -> None:
        super().__init__(f"interrupted in epoch {epoch + 1} after {batch} batches")
        self.folder, self.epoch, self.batch = folder, epoch, batch


@dataclass
class RunFolder:
    """Writes a run to `path`, or nothing where that is None, or another process of the run `writes`.

    `identity` is what must be the same for a checkpoint to be continued exactly.
    """

    path: Path | None
    identity: Mapping[str, Any]
    writes: bool = True
    _saved: float = field(default_factory=time.monotonic)
    _unsaved: dict[str, Model] = field(default_factory=dict)

    def found(self, *, resume: bool) -> Checkpoint | None:
        """Return the checkpoint to go on from, None for a run that begins; nothing is written.

        Raises:
            UsageError: the folder holds another run, or nothing to resume.
            FormatError: the checkpoint is damaged.
        """
        if self.path is None:
            if resume:
                raise UsageError("resume needs the folder of the run: give out=")
            return None
        path = self.path / CHECKPOINT
        if not resume:
            # A run that stopped before its first checkpoint, on a photo or a learning rate, has nothing to lose.
            if path.exists() and load_checkpoint(path).progress != Progress():
                raise UsageError(f"{self.path} holds a run already; resume it, or choose another folder")
            return None
        if not path.exists():
            raise UsageError(f"{self.path}: nothing to resume, there is no {CHECKPOINT}")
        checkpoint = load_checkpoint(path)
        for key, mine in self.identity.items():
            theirs = checkpoint.settings.get(key)
            if mine != theirs:
                raise UsageError(f"{self.path}: {_difference(key, mine, theirs)}; resume with the same")
        return checkpoint

    def best(self) -> Model | None:
        """Return the best model that was written so far."""
        if self.path is None or not (self.path / BEST).exists():
            return None
        from edge_sdk.edge_file import load

        return load(self.path / BEST)

    @property
    def seconds(self) -> float:
        """The time since a checkpoint was last written."""
        return time.monotonic() - self._saved

    def keep(self, model: Model, *, best: bool) -> None:
        """Write this model with the next checkpoint: as the last epoch's, and if it is, as the best."""
        self._unsaved |= {LAST: model, BEST: model} if best else {LAST: model}

    def save(self, progress: Progress, step: TrainingStep) -> None:
        """Write the models that are new, and the checkpoint that follows."""
        self._saved = time.monotonic()
        if self.path is None or not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        last, best = self._unsaved.pop(LAST, None), self._unsaved.pop(BEST, None)
        if best is not None:
            best.save(self.path / BEST)
        if last is not None and last is best:
            atomic_write_bytes(self.path / LAST, (self.path / BEST).read_bytes())
        elif last is not None:
            last.save(self.path / LAST)
        Checkpoint(progress, step.workspace.restricted(step.graph), self.identity).save(self.path / CHECKPOINT)
        if progress.history:
            lines = [json.dumps(dataclasses.asdict(metrics)) for metrics in progress.history]
            atomic_write_bytes(self.path / METRICS, ("\n".join(lines) + "\n").encode())


def _difference(key: str, mine: Any, theirs: Any) -> str:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name, value in mine.items():
            if theirs.get(name) != value:
                return f"the run was started with {name} = {theirs.get(name)!r}, now it is {value!r}"
    return f"the {key} are not those that the run was started with"
