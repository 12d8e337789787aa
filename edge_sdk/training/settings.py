"""Everything that decides the outcome of a training run besides the model and the data."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from edge_sdk.errors import UsageError
from edge_sdk.kernel import precise_by_default
from edge_sdk.training.frozen import Freeze
from edge_sdk.training.optimizers import DEFAULT_RATES
from edge_sdk.training.step import Recompute


@dataclass(frozen=True)
class Settings:
    """The keyword arguments of `fit`.

    Features of a frozen part of the network are computed once (`feature_cache`), of `feature_views` fixed views of each
    photo, which the epochs take in turn. Left at None, that happens where the whole backbone is frozen or `augment` is
    "off", and the number of views is chosen by `augment`. `distillation` is the share of the loss that compares with a
    teacher's probabilities instead of labels.
    """

    epochs: int = 5
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    distillation: float = 0.0
    warmup_epochs: float = 0.5
    clip_norm: float | None = None
    freeze: Freeze = None
    feature_cache: bool = True
    feature_views: int | None = None
    augment: str = "flip"
    validation: float = 0.2
    seed: int = 0
    precise: bool = field(default_factory=precise_by_default)
    precision: str = "float32"
    recompute: Recompute = "auto"
    """Less memory for more time. It decides no outcome: a run may be resumed with another."""

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": self.learning_rate is None or 0 < self.learning_rate < float("inf"),
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": 0 <= self.weight_decay < float("inf"),
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "distillation": 0 <= self.distillation <= 1,
            "warmup_epochs": 0 <= self.warmup_epochs < float("inf"),
            "feature_views": self.feature_views is None or self.feature_views >= 1,
            "validation": 0 <= self.validation < 1,
            "seed": self.seed >= 0,
        }
        for name, right in checks.items():
            if not right:
                raise UsageError(f"{name} = {getattr(self, name)} makes no sense for training")

    @property
    def rate(self) -> float:
        """The peak learning rate: the one given, or the optimizer's usual one."""
        return self.learning_rate if self.learning_rate is not None else DEFAULT_RATES[self.optimizer]

    def plain(self) -> dict[str, Any]:
        """Return the settings that decide the outcome, as JSON gives them back: tuples become lists."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        del plain["recompute"]
        if not self.distillation:  # as runs have it that knew none
            del plain["distillation"]
        return plain
