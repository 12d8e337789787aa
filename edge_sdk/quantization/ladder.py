"""The ladder: what is tried on a network, one thing after the other, until its 8-bit form is good enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.quantization.adaptive_rounding import round_adaptively
from edge_sdk.quantization.bias_correction import correct_biases
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, observe
from edge_sdk.quantization.equalization import equalize
from edge_sdk.quantization.observer_search import logit_error, search_observer
from edge_sdk.quantization.sensitivity import mixed_precision
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from pathlib import Path

    from edge_sdk.data.dataset import Dataset

RungName = Literal[
    "calibration", "search", "equalization", "bias-correction", "adaptive-rounding", "mixed-precision", "training"
]
RUNGS: tuple[RungName, ...] = get_args(RungName)
"""All rungs, from the cheapest to the dearest; the first one is always climbed."""

Step = Callable[[Candidate, Iterable[Array]], Candidate]
_STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "calibration": observe,
        "search": search_observer,
        "equalization": equalize,
        "bias-correction": correct_biases,
        "adaptive-rounding": round_adaptively,
        "mixed-precision": mixed_precision,
    }
)


@dataclass(frozen=True)
class Climbed:
    """A rung and what it made of the network.

    Attributes:
        rung: Its name.
        candidate: The network.
        error: Σ (integer - float)² / Σ float² of the logits of the calibration images, each image's mean taken off.
        kept: Whether the error is below that of all rungs before; one that is not is nothing to build on, and the next
            rung starts from the best.
    """

    rung: RungName
    candidate: Candidate
    error: float
    kept: bool


def climb(
    candidate: Candidate,
    images: CalibrationImages,
    model: Model,
    rungs: Sequence[RungName] = RUNGS,
    train: Dataset | Path | str | None = None,
    listener: Callable[[str], None] = lambda rung: None,
) -> Iterator[Climbed]:
    """Yield a prepared candidate as each rung leaves it; the caller stops where it is content.

    `train` are labelled photos for the last rung, quantization-aware training; without them it learns on the
    calibration images to answer as the float network does. `listener` is told of each rung before it is climbed.

    Raises:
        UsageError: an unknown rung, or one named twice.
        DataError: there is no image, all pixels are equal, or the network makes numbers that are none.
    """
    check_rungs(rungs)
    best, least = candidate, np.inf
    for rung in RUNGS:
        if rung not in rungs and rung != RUNGS[0]:
            continue
        listener(rung)
        changed = _trained(best, images, model, train) if rung == "training" else _STEPS[rung](best, images)
        if changed is best:
            continue
        error = logit_error(changed, images)
        kept = error < least
        yield Climbed(rung, changed, error, kept)
        if kept:
            best, least = changed, error


def check_rungs(rungs: Sequence[str]) -> None:
    """Raise UsageError for an unknown rung."""
    for rung in rungs:
        if rung not in RUNGS:
            raise UsageError(f"rung {rung!r} is not one of {', '.join(RUNGS)}{suggestion(rung, RUNGS)}")


def _trained(
    candidate: Candidate, images: CalibrationImages, model: Model, train: Dataset | Path | str | None
) -> Candidate:
    from edge_sdk.quantization.quantization_aware import distil, train_candidate

    if train is None:
        return distil(candidate, images)
    return train_candidate(candidate, model, train).candidate
