"""The ladder: what is tried on a network, one thing after the other, until its 8-bit form is good enough."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.quantization.adaptive_rounding import round_adaptively
from edge_sdk.quantization.bias_correction import correct_biases
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, observe
from edge_sdk.quantization.equalization import Limits, equalize, has_limits
from edge_sdk.quantization.observer_search import LogitError, by_every_observer
from edge_sdk.quantization.sensitivity import halved_errors
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from pathlib import Path

    from edge_sdk.data.dataset import Dataset

RungName = Literal[
    "calibration",
    "search",
    "equalization",
    "channel-scales",
    "bias-correction",
    "adaptive-rounding",
    "mixed-precision",
    "training",
]
RUNGS: tuple[RungName, ...] = get_args(RungName)
"""All rungs, from the cheapest to the dearest; the first one is always climbed."""

Step = Callable[[Candidate, Iterable[Array]], Sequence[Candidate]]
"""What a rung may make of a candidate on images; where there are several, the one that is judged best is taken."""


def _searched(candidate: Candidate, images: Iterable[Array]) -> Sequence[Candidate]:
    return by_every_observer(candidate, images)


def _equalized(candidate: Candidate, images: Iterable[Array]) -> Sequence[Candidate]:
    """Either way with a ReLU6: which loses less differs from network to network. Other weights have other ranges."""
    ways: tuple[Limits, ...] = ("bounded", "minimum") if has_limits(candidate.graph) else ("bounded",)
    equalized = [equalize(candidate, images, limits=way) for way in ways]
    return [one for way in equalized for one in by_every_observer(way, images)]


def _with_channel_scales(candidate: Candidate, images: Iterable[Array]) -> Sequence[Candidate]:
    if candidate.scheme.per_channel:
        return [candidate]
    scheme = replace(candidate.scheme, per_channel=True)
    return [replace(candidate, scheme=scheme, weight_parameters={}, rounded={})]


_STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "calibration": lambda candidate, images: [observe(candidate, images)],
        "search": _searched,
        "equalization": _equalized,
        "channel-scales": _with_channel_scales,
        "bias-correction": lambda candidate, images: [correct_biases(candidate, images)],
        "adaptive-rounding": lambda candidate, images: [round_adaptively(candidate, images)],
    }
)


@dataclass(frozen=True)
class Climbed:
    """A rung and what it made of the network.

    Attributes:
        rung: Its name.
        candidate: The network.
        error: Σ (integer - float)² / Σ float² of the logits, each image's mean taken off, on photos that no rung sees.
            The float network is the one that was given, whatever rungs did to its weights.
        kept: Whether the error is below that of all rungs before; one that is not is nothing to build on, and the next
            rung starts from the best. Layers on real numbers are not built upon.
    """

    rung: RungName
    candidate: Candidate
    error: float
    kept: bool

    @property
    def real_layers(self) -> int:
        """How many nodes compute on real numbers, by the scheme."""
        return sum(precision == "float32" for precision in self.candidate.scheme.layers.values())


def climb(
    candidate: Candidate,
    images: CalibrationImages,
    model: Model,
    rungs: Sequence[RungName] = RUNGS,
    train: Dataset | Path | str | None = None,
    listener: Callable[[str], None] = lambda rung: None,
    fits: Callable[[Candidate], bool] = lambda candidate: True,
) -> Iterator[Climbed]:
    """Yield a prepared candidate as each rung leaves it; the caller stops where it is content.

    Some of the photos are set aside (`CalibrationImages.set_aside`): rungs work on the others, and what they made is
    judged by these. Of several candidates that a rung makes the best goes on; one that is what was there before is
    left out.

    A scheme with one weight scale a tensor gets one a channel where "channel-scales" is among the rungs. The rung of
    mixed precision yields a candidate each time that the error is halved. Training, the last one, starts from the best
    candidate with all layers on integers: what they lose is what it takes back, and a file without real numbers is what
    mixed precision cannot give.

    `train` are labelled photos for training, which is quantization-aware; without them it learns on the calibration
    images to answer as the float network does. `listener` is told of each rung before it is climbed.

    `fits` tells whether what a rung made is small enough. What is not, is left out; it is asked before the photos that
    judge are looked at, and not about the first rung. Mixed precision ends there: further layers only add bytes.

    Raises:
        UsageError: an unknown rung, or one named twice.
        DataError: there is no image, all pixels are equal, or the network makes numbers that are none.
    """
    check_rungs(rungs)
    deciding, judging = images.set_aside()
    error = LogitError(candidate, judging)
    best, least = candidate, np.inf
    for rung in RUNGS:
        if rung not in rungs and rung != RUNGS[0]:
            continue
        listener(rung)
        if rung == "mixed-precision":
            for mixed in itertools.takewhile(fits, halved_errors(best, deciding)):
                yield Climbed(rung, mixed, error(mixed), kept=False)
            continue
        made = [_trained(best, deciding, model, train)] if rung == "training" else _STEPS[rung](best, deciding)
        made = [one for one in made if rung == RUNGS[0] or _same(one, best) or fits(one)]
        if not made:
            continue
        errors = [least if _same(one, best) else error(one) for one in made]
        found = min(errors)
        changed, kept = made[errors.index(found)], found < least
        if _same(changed, best):
            continue
        yield Climbed(rung, changed, found, kept)
        if kept:
            best, least = changed, found


def check_rungs(rungs: Sequence[str]) -> None:
    """Raise UsageError for an unknown rung."""
    for rung in rungs:
        if rung not in RUNGS:
            raise UsageError(f"rung {rung!r} is not one of {', '.join(RUNGS)}{suggestion(rung, RUNGS)}")


def _same(one: Candidate, other: Candidate) -> bool:
    """Tell whether two candidates have the same integers."""
    weights = one.workspace is other.workspace and one.rounded is other.rounded
    scales = one.activations == other.activations and one.weight_parameters == other.weight_parameters
    scheme = replace(one.scheme, observer=other.scheme.observer) == other.scheme
    return one.graph is other.graph and weights and scales and scheme


def _trained(
    candidate: Candidate, images: CalibrationImages, model: Model, train: Dataset | Path | str | None
) -> Candidate:
    from edge_sdk.quantization.quantization_aware import distil, train_candidate

    if train is None:
        return distil(candidate, images)
    return train_candidate(candidate, model, train).candidate
