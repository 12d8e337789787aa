"""What pruning lost, won back: the smaller network trained on photos, with the whole one as its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.compression.prune import MULTIPLE, Measure, Pruned, prune_channels
from edge_sdk.model import Model
from edge_sdk.training.fit import CHECKPOINT, Run, fit

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

DEFAULTS: Mapping[str, Any] = {
    "epochs": 5,
    "optimizer": "adamw",
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "distillation": 0.5,
}
"""Settings of `fit` that differ: the weights are those of a trained network, whose answers are worth following."""


@dataclass(frozen=True)
class PrunedRun:
    """What was removed, and the training run after it, whose model is the result."""

    pruned: Pruned
    run: Run


def prune_and_train(
    model: Model,
    data: Dataset | Path | str,
    validation_data: Dataset | Path | str | None = None,
    *,
    keep: float = 0.5,
    of: Measure = "multiply-adds",
    multiple: int = MULTIPLE,
    **arguments: Any,
) -> PrunedRun:
    """Remove channels by the loss on labelled photos, and train what is left on the same photos.

    `keep`, `of` and `multiple` are those of `prune_channels`, the other arguments those of `fine_tune`.

    Raises:
        UsageError: shares or settings that make no sense, or a network that cannot become so small.
        DataError: the photos cannot be trained on.
        Interrupted: Ctrl-C; a checkpoint was written first.
    """
    pruned = prune_channels(model, keep, of, data, multiple=multiple)
    return PrunedRun(pruned, fine_tune(pruned, model, data, validation_data, **arguments))


def fine_tune(
    pruned: Pruned,
    teacher: Model,
    data: Dataset | Path | str,
    validation_data: Dataset | Path | str | None = None,
    **arguments: Any,
) -> Run:
    """Train a pruned model on labelled photos; `distillation` of its loss follows the whole network, the `teacher`.

    The other arguments are those of `fit`, with `DEFAULTS`: `out` and `resume` make a run that can be interrupted.
    `resume` None goes on with what the folder holds, or begins.
    """
    from edge_sdk.data.class_names import training_photos

    settings = {**DEFAULTS, **arguments}
    hold_out = settings.get("validation") != 0
    data, validation_data = training_photos(data, validation_data, teacher.labels, hold_out=hold_out)
    if settings.get("resume", False) is None:
        out = settings.get("out")
        settings["resume"] = out is not None and (Path(out) / CHECKPOINT).exists()
    return fit(pruned.model, data, validation_data, teacher=teacher if settings["distillation"] else None, **settings)
