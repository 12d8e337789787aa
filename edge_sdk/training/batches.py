"""What a training run feeds its steps and is validated on: photos, or the features of a frozen part."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_sdk.errors import DataError
from edge_sdk.evaluation import Classifier, evaluate
from edge_sdk.graph import Graph
from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.passes.pixel_input import PIXELS
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.step import LABEL, TEACHER, TrainingStep

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Loader, Unreadable
    from edge_sdk.training.features import Features

Feeds = dict[str, Array]

EVALUATED = 256
"""Rows of features that are evaluated at a time."""


class Batches(Protocol):
    """Batches by epoch and position, each a function of those two alone."""

    @property
    def batches(self) -> int:
        """Number of batches of an epoch."""

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""

    @property
    def unreadable(self) -> list[Unreadable]:
        """The photos that were left out so far."""

    def epoch(self, epoch: int, start_batch: int) -> Generator[Feeds, None, None]:
        """Yield what the steps of an epoch are fed, from `start_batch` on; `label` is among it."""


@dataclass(frozen=True)
class PhotoBatches:
    """Decoded photos, as a Loader delivers them."""

    loader: Loader

    @property
    def batches(self) -> int:
        """Number of batches of an epoch."""
        return self.loader.batches

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""
        return self.loader.batch_size

    @property
    def unreadable(self) -> list[Unreadable]:
        """The photos that were left out so far."""
        return self.loader.unreadable

    def epoch(self, epoch: int, start_batch: int) -> Generator[Feeds, None, None]:
        """Yield {"image": …, "label": …}, or the photos' bytes in place of the image where the loader gives those."""
        batches = self.loader.epoch(epoch, start_batch)
        try:
            for batch in batches:
                yield {PIXELS if self.loader.pixels else INPUT: batch.image, LABEL: batch.label}
        finally:
            batches.close()


@dataclass(frozen=True)
class FeatureBatches:
    """Rows of features in the order in which `loader` would read their photos; epoch e takes view e mod the views."""

    features: Features
    loader: Loader

    @property
    def batches(self) -> int:
        """Number of batches of an epoch."""
        return self.loader.batches

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""
        return self.loader.batch_size

    @property
    def unreadable(self) -> list[Unreadable]:
        """The photos that have no features."""
        return self.features.unreadable

    def epoch(self, epoch: int, start_batch: int) -> Generator[Feeds, None, None]:
        """Yield features by name, and "label"."""
        views = self.features.views
        order = self.loader.order(epoch)
        # As in a Loader, the next readable photo takes the place of one that is not.
        readable = np.flatnonzero(self.features.readable()[order])
        following = np.searchsorted(readable, np.arange(len(order))) % len(readable)
        order = order[readable[following]]
        labels = np.array([views.dataset.label(index) for index in range(len(views.dataset))], np.int32)
        for batch in range(start_batch, self.batches):
            positions = np.arange(batch * self.batch_size, (batch + 1) * self.batch_size) % len(order)
            indices = order[positions]
            yield {**self.features.gather(indices, epoch % views.count), LABEL: labels[indices]}


@dataclass(frozen=True)
class TaughtBatches:
    """Photos with the logits that a teacher gives them."""

    photos: Batches
    teacher: Model
    precise: bool

    @property
    def batches(self) -> int:
        """Number of batches of an epoch."""
        return self.photos.batches

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""
        return self.photos.batch_size

    @property
    def unreadable(self) -> list[Unreadable]:
        """The photos that were left out so far."""
        return self.photos.unreadable

    def epoch(self, epoch: int, start_batch: int) -> Generator[Feeds, None, None]:
        """Yield {"image": …, "label": …, "teacher": …}."""
        batches = self.photos.epoch(epoch, start_batch)
        answers: LaunchedRuns[Array, Feeds] = LaunchedRuns(self.teacher.runs_ahead)
        try:
            for feeds in batches:
                for logits, asked in answers.add(self.teacher.start(feeds[INPUT], precise=self.precise), feeds):
                    yield {**asked, TEACHER: logits}
            for logits, asked in answers.finish():
                yield {**asked, TEACHER: logits}
        finally:
            batches.close()


class Validation(Protocol):
    """Measures how well a run's weights do on photos that it does not train on."""

    def accuracy(self, step: TrainingStep) -> float:
        """Return the share of the photos whose best label is right."""


class Deployment(Protocol):
    """How a model in training will be used, where that is not as it is."""

    @property
    def name(self) -> str:
        """What tells it from others."""

    def __call__(self, model: Model) -> Classifier:
        """Return what is used of a model."""


@dataclass(frozen=True)
class PhotoValidation:
    """On photos that are decoded anew each time, of the model or of its deployment."""

    dataset: Dataset
    batch_size: int
    deployment: Deployment | None = None

    def accuracy(self, step: TrainingStep) -> float:
        """Return the share of the photos whose best label is right."""
        model = step.trained_model()
        used: Classifier = model if self.deployment is None else self.deployment(model)
        return evaluate(used, self.dataset, self.batch_size).top1


@dataclass(frozen=True)
class FeatureValidation:
    """On features that were computed once."""

    features: Features

    def program(self) -> tuple[Graph, int]:
        """Return the graph that is run, and on how many rows at most."""
        rest = self.features.part.rest
        graph, _ = run_pipeline("inference", rest.graph, rest.workspace)
        return graph, min(EVALUATED, len(self.features.views.dataset))

    def accuracy(self, step: TrainingStep) -> float:
        """Return the share of the photos whose best label is right."""
        rest, dataset = self.features.part.rest, self.features.views.dataset
        indices = np.flatnonzero(self.features.readable())
        if not len(indices):
            raise DataError("no photo of the validation data can be read, so there is nothing to evaluate")
        size = min(EVALUATED, len(indices))
        graph, workspace = run_pipeline("inference", rest.graph, step.workspace.restricted(rest.graph))
        session = Session(graph, workspace, step.model.device, size)
        runs: LaunchedRuns[dict[str, Array], NDArray[np.int64]] = LaunchedRuns(session.runs_ahead)

        def right(read: list[tuple[dict[str, Array], NDArray[np.int64]]]) -> int:
            best = ((outputs[OUTPUT][: len(some)].argmax(axis=1), some) for outputs, some in read)
            return sum(int(np.sum(found == [dataset.label(int(index)) for index in some])) for found, some in best)

        count = 0
        for start in range(0, len(indices), size):
            some = indices[start : start + size]
            filled = np.resize(some, size)  # the last batch repeats its rows
            count += right(runs.add(session.start(self.features.gather(filled)), some))
        return (count + right(runs.finish())) / len(indices)
