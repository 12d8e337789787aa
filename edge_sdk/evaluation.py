"""How often a model is right: top-1, top-5 and per class, for an .edge model or an exported file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_sdk.device_choice import AUTO, chosen_device
from edge_sdk.errors import DataError, UsageError
from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Batch, Loader
    from edge_sdk.parallel.communicator import Communicator


NOTHING = "no photo of the data set can be read, so there is nothing to evaluate"


class Classifier(Protocol):
    """Whatever turns preprocessed photos into one score per label: a Model, or an exported file in its runtime."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""

    @property
    def preprocess(self) -> Preprocess:
        """How a photo becomes the input."""

    def run(self, x: Array) -> Array:
        """Return scores (n, classes) of float32 images (n, h, w, c)."""


@dataclass(frozen=True)
class ClassAccuracy:
    """Of `count` photos of a class, `correct` were recognised."""

    label: str
    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """The share that was recognised; 0 for a class without photos."""
        return self.correct / self.count if self.count else 0.0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores over a data set. `scores` (n, classes) and `targets` (n,) are kept for comparisons.

    `top5` counts a photo as right when its label is among the five best; with five classes or fewer it is 1.
    """

    labels: tuple[str, ...]
    scores: Array
    targets: Array
    unreadable: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of photos."""
        return len(self.targets)

    @property
    def predictions(self) -> Array:
        """The best label index of each photo (n,)."""
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def top1(self) -> float:
        """Share of photos whose best label is right."""
        return float(np.mean(self.predictions == self.targets))

    @property
    def top5(self) -> float:
        """Share of photos whose label is among the five best."""
        best = np.argsort(-self.scores, axis=1, kind="stable")[:, :5]
        return float(np.mean((best == self.targets[:, np.newaxis]).any(axis=1)))

    @property
    def per_class(self) -> tuple[ClassAccuracy, ...]:
        """Accuracy of each class, in label order."""
        right = self.predictions == self.targets
        return tuple(
            ClassAccuracy(label, int(right[self.targets == index].sum()), int((self.targets == index).sum()))
            for index, label in enumerate(self.labels)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        return {
            "count": self.count,
            "top1": self.top1,
            "top5": self.top5,
            "per_class": {c.label: {"correct": c.correct, "count": c.count} for c in self.per_class},
            "unreadable": list(self.unreadable),
        }


def evaluate(
    model: Classifier | Path | str,
    data: Dataset | Path | str,
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
    device: str | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Run a model over labelled photos.

    `model` is a Model, an open exported file, or the path of an `.edge` or `.tflite` file; `data` is a data set or a
    folder with one sub-folder a class, whose names must be labels of the model, in any order. `on_batch` is told how
    many photos a finished batch had. `device` computes: "cpu", "gpu", or "auto", the GPU where there is one, which
    `on_note` is told; None is the model's own. On a GPU an int8 `.tflite` file is computed here, as the runtime's
    default kernels do, bit for bit; a file that is already open in its runtime stays there.

    Raises:
        DeviceError: the device is not here.
        UsageError: a GPU was asked for, for what cannot run there.
        DataError: no photo can be read, or the folder's classes are not the model's.
        FormatError: the model file cannot be read.
    """
    from edge_sdk.data.class_names import under_labels
    from edge_sdk.data.folder import ImageFolder
    from edge_sdk.data.loader import Loader

    classifier = _opened(Path(model), device, on_note) if isinstance(model, str | Path) else model
    if device is not None:
        classifier = _placed(classifier, device, on_note)
    if isinstance(data, str | Path):
        data = ImageFolder.scan(data, labels=classifier.labels).evaluation
    data = under_labels(data, classifier.labels)
    batch_size = max(1, min(batch_size, len(data)))
    loader = Loader(data, classifier.preprocess, batch_size=batch_size, shuffle=False, drop_last=False)
    scores: list[Array] = []
    targets: list[Array] = []
    for found, label in _scored(classifier, loader):
        scores.append(found)
        targets.append(label)
        if on_batch is not None:
            on_batch(len(label))
    if not scores:
        raise DataError(NOTHING)
    return Evaluation(
        classifier.labels,
        np.concatenate(scores),
        np.concatenate(targets).astype(np.int64),
        tuple(skipped.name for skipped in loader.unreadable),
    )


def accuracy_over_processes(
    classifier: Classifier, data: Dataset, batch_size: int, communicator: Communicator
) -> float:
    """Return the share of the photos whose best label is right; each process looks at its own part of them.

    All are told the same: counts are added, so that nothing is rounded. Photos that cannot be read are left out, and
    the errors are those of `evaluate`, in every process.
    """
    from edge_sdk.data.class_names import under_labels
    from edge_sdk.data.loader import Loader

    data = under_labels(data, classifier.labels)
    size = communicator.size
    batch_size = max(1, min(batch_size, -(-len(data) // size)))
    part = (communicator.rank, size)
    loader = Loader(data, classifier.preprocess, batch_size=batch_size, part=part)
    right = count = 0
    for scores, label in _scored(classifier, loader):
        right += int((scores.argmax(axis=1) == label).sum())
        count += len(label)
    counts = np.array([right, count, len(loader.unreadable)], np.int64)
    communicator.allreduce_(counts)
    loader.check_unreadable(int(counts[2]))
    if not counts[1]:
        raise DataError(NOTHING)
    return int(counts[0]) / int(counts[1])


def _opened(path: Path, device: str | None, say: Callable[[str], None]) -> Classifier:
    """The model of a file; one that would run in a runtime of its own is computed here where a device is asked for."""
    from edge_sdk.opening import graph_format, open_model, open_quantized
    from edge_sdk.quantization.profile import DEFAULT

    if device not in (None, "cpu", AUTO) and not path.is_dir() and graph_format(path) == ".tflite":
        chosen_device(device)  # whose absence is said before a file is read
        say(f"{path} is computed here, as the runtime's default kernels do (--profile {DEFAULT})")
        return open_quantized(path, DEFAULT)
    return open_model(path)


def _scored(classifier: Classifier, loader: Loader) -> Iterator[tuple[Array, Array]]:
    """Yield scores (n, classes) and labels (n,) of one batch of a loader after the other.

    A GPU is given the next batch before the scores of one are waited for.
    """
    from edge_sdk.model import Model

    start = classifier.start if isinstance(classifier, Model) else partial(_started, classifier)
    runs: LaunchedRuns[Array, Batch] = LaunchedRuns(classifier.runs_ahead if isinstance(classifier, Model) else 0)
    for batch in loader.epoch(0):
        yield from _of_photos(runs.add(start(batch.image), batch))
    yield from _of_photos(runs.finish())


def _started(classifier: Classifier, image: Array) -> Callable[[], Array]:
    """What runs to its end before it is read."""
    scores = classifier.run(image)
    return lambda: scores


def _of_photos(runs: list[tuple[Array, Batch]]) -> Iterator[tuple[Array, Array]]:
    """Leave out the rows that fill up a batch."""
    for scores, batch in runs:
        yield scores[: batch.count], batch.label[: batch.count]


def _placed(classifier: Classifier, device: str, say: Callable[[str], None]) -> Classifier:
    """The classifier on a device; what runs in a runtime of its own stays there."""
    from edge_sdk.model import Model
    from edge_sdk.quantization.post_training import QuantizedModel

    if isinstance(classifier, Model):
        return classifier.replace(device=chosen_device(device, say))
    if isinstance(classifier, QuantizedModel):
        return dataclasses.replace(classifier, device=chosen_device(device, say))
    if device not in ("cpu", AUTO):
        raise UsageError(f"device {device!r} computes models, not what is open in a runtime of its own")
    return classifier
