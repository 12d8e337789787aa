"""Two models on the same photos: how often they agree, which is right, and on which photos they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.errors import DataError
from edge_sdk.evaluation import ClassAccuracy, Classifier, Evaluation, evaluate
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from edge_sdk.data.source import PhotoSource


@dataclass(frozen=True)
class Disagreement:
    """A photo that the models answer differently, and its label where it has one."""

    photo: str
    first: str
    second: str
    label: str | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two models say about the same photos.

    Attributes:
        first: Scores of the first model.
        second: Scores of the second, with the classes in the order of the first.
        photos: What the photos are called, in the order of the scores.
    """

    first: Evaluation
    second: Evaluation
    photos: tuple[str, ...]

    @property
    def has_labels(self) -> bool:
        """Whether every photo has a label, so that there are accuracies."""
        return bool((self.first.targets >= 0).all())

    @property
    def agreement(self) -> float:
        """Share of photos with the same best label."""
        return float(np.mean(self.first.predictions == self.second.predictions))

    @property
    def largest_difference(self) -> float:
        """Largest difference of a score, in the scores' own units: mostly logits."""
        return float(np.abs(self.first.scores - self.second.scores).max())

    @property
    def mean_difference(self) -> float:
        """Mean difference of the scores."""
        return float(np.abs(self.first.scores - self.second.scores).mean())

    @property
    def relative_difference(self) -> float:
        """The largest difference over the largest score of the first model."""
        return self.largest_difference / max(float(np.abs(self.first.scores).max()), 1e-12)

    @property
    def per_class(self) -> tuple[tuple[ClassAccuracy, ClassAccuracy], ...]:
        """Accuracy of each class that has photos, by the first model and by the second; empty without labels."""
        if not self.has_labels:
            return ()
        both = zip(self.first.per_class, self.second.per_class, strict=True)
        return tuple(pair for pair in both if pair[0].count)

    @property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """The photos with different answers, in the order of the photos."""
        labels, answers = self.first.labels, (self.first.predictions, self.second.predictions)
        return tuple(
            Disagreement(
                self.photos[index],
                labels[answers[0][index]],
                labels[answers[1][index]],
                labels[self.first.targets[index]] if self.first.targets[index] >= 0 else None,
            )
            for index in np.flatnonzero(answers[0] != answers[1])
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values; accuracies are None without labels."""
        accuracies = (self.first.top1, self.second.top1) if self.has_labels else (None, None)
        return {
            "photos": self.first.count,
            "agreement": self.agreement,
            "accuracy": list(accuracies),
            "largest_difference": self.largest_difference,
            "mean_difference": self.mean_difference,
            "relative_difference": self.relative_difference,
            "per_class": {a.label: {"count": a.count, "correct": [a.correct, b.correct]} for a, b in self.per_class},
            "disagreements": [
                {"photo": d.photo, "answers": [d.first, d.second], "label": d.label} for d in self.disagreements
            ],
            "unreadable": list(self.first.unreadable),
        }


def compare(
    first: Classifier | Path | str,
    second: Classifier | Path | str,
    data: PhotoSource,
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> Comparison:
    """Run two models over the same photos, each with its own preprocessing.

    Models are open ones, or paths of .edge, .tflite or .onnx files or of runs; the classes of the second may lie in
    another order, and a file without names of its own gets the first one's. `data` is a folder of class folders, a
    folder of photos, uint8 images (n, h, w, c) or a data set. `on_batch` is told how many photos a finished batch of
    either model had.

    Raises:
        DataError: the models tell different classes apart, or there is no photo.
        FormatError: a model file cannot be read.
    """
    from edge_sdk.data.source import open_photos
    from edge_sdk.opening import open_model

    one, other = (open_model(model) if isinstance(model, str | Path) else model for model in (first, second))
    aligned = _aligned(other, one.labels)
    photos = open_photos(data, one.labels)
    evaluations = [evaluate(model, photos, batch_size, on_batch) for model in (one, aligned)]
    unreadable = set(evaluations[0].unreadable)
    names = [photos.name(index) for index in range(len(photos))]
    return Comparison(evaluations[0], evaluations[1], tuple(name for name in names if name not in unreadable))


@dataclass(frozen=True)
class _Aligned:
    """A model whose outputs are put into another order, under other names."""

    model: Classifier
    labels: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def preprocess(self) -> Preprocess:
        return self.model.preprocess

    def run(self, x: Array) -> Array:
        return np.asarray(self.model.run(x)[:, self.order])


def _aligned(model: Classifier, labels: tuple[str, ...]) -> Classifier:
    if model.labels == labels:
        return model
    nameless = model.labels == tuple(map(str, range(len(labels))))
    if not nameless and sorted(model.labels) != sorted(labels):
        only = [sorted(set(a) - set(b))[:3] for a, b in ((labels, model.labels), (model.labels, labels))]
        raise DataError(
            f"the models tell different classes apart: {len(labels)} and {len(model.labels)}; only the first has "
            f"{only[0]}, only the second {only[1]}"
        )
    order = tuple(range(len(labels))) if nameless else tuple(model.labels.index(label) for label in labels)
    return _Aligned(model, labels, order)
