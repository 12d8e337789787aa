"""Everything that decides the outcome of a training run besides the model and the data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_sdk.errors import UsageError
from edge_sdk.kernel import precise_by_default
from edge_sdk.training.frozen import Freeze
from edge_sdk.training.optimizers import DEFAULT_RATES
from edge_sdk.training.step import Recompute


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(is_right: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and is_right(value)


def _or_none(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


def _freezes(value: object) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, Sequence) and all(map(_is_text, value)))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_SHARE = _number(lambda value: 0 <= value < 1), "a number from 0 to below 1"
_WANTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (_whole(1), "a whole number of at least 1"),
    "batch_size": (_whole(1), "a whole number of at least 1"),
    "optimizer": (_is_text, "a name"),
    "learning_rate": (_or_none(_number(lambda value: 0 < value < math.inf)), "a number above 0, or None"),
    "momentum": _SHARE,
    "weight_decay": (_number(lambda value: 0 <= value < math.inf), "a number of at least 0"),
    "label_smoothing": _SHARE,
    "distillation": (_number(lambda value: 0 <= value <= 1), "a number from 0 to 1"),
    "warmup_epochs": (_number(lambda value: 0 <= value < math.inf), "a number of at least 0"),
    "clip_norm": (_or_none(_number(lambda value: 0 < value < math.inf)), "a number above 0, or None"),
    "freeze": (_freezes, 'None, "backbone", or patterns of parameter names'),
    "feature_views": (_or_none(_whole(1)), "a whole number of at least 1, or None"),
    "validation": _SHARE,
    "seed": (_whole(0), "a whole number of at least 0"),
}
"""What a setting must be, and how that is said."""


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
        for name, (is_right, wanted) in _WANTED.items():
            value = getattr(self, name)
            if not is_right(value):
                raise UsageError(f"{name} = {value!r} makes no sense for training; wanted {wanted}")

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
