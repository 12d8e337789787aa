"""What a training run is validated on: photos, or the features of a frozen part; several processes share them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_sdk.errors import DataError
from edge_sdk.evaluation import NOTHING, Classifier, accuracy_over_processes
from edge_sdk.graph import Graph
from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.model import OUTPUT, Model
from edge_sdk.parallel.communicator import Communicator, share_of
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.step import TrainingStep

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.training.features import Features

EVALUATED = 256
"""Rows of features that are evaluated at a time."""


class Validation(Protocol):
    """Measures how well a run's weights do on photos that it does not train on.

    Of several processes, which all have the same weights, each looks at its part, and all are told the same figure.
    """

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
    communicator: Communicator
    deployment: Deployment | None = None

    @property
    def rows(self) -> int:
        """On how many photos the model is run at most."""
        return min(self.batch_size, _largest_share(len(self.dataset), self.communicator))

    def accuracy(self, step: TrainingStep) -> float:
        """Return the share of the photos whose best label is right."""
        model = step.trained_model()
        used: Classifier = model if self.deployment is None else self.deployment(model)
        return accuracy_over_processes(used, self.dataset, self.batch_size, self.communicator)


@dataclass(frozen=True)
class FeatureValidation:
    """On features that were computed once."""

    features: Features
    communicator: Communicator

    def program(self) -> tuple[Graph, int]:
        """Return the graph that is run, and on how many rows at most."""
        rest = self.features.part.rest
        graph, _ = run_pipeline("inference", rest.graph, rest.workspace)
        return graph, min(EVALUATED, _largest_share(len(self.features.views.dataset), self.communicator))

    def accuracy(self, step: TrainingStep) -> float:
        """Return the share of the photos whose best label is right."""
        readable = np.flatnonzero(self.features.readable())
        if not len(readable):
            raise DataError(NOTHING)
        right = np.array([self._right(step, readable)], np.int64)
        self.communicator.allreduce_(right)
        return int(right[0]) / len(readable)

    def _right(self, step: TrainingStep, readable: NDArray[np.int64]) -> int:
        """How many of this process's part are recognised."""
        rest, label = self.features.part.rest, self.features.views.dataset.label
        indices = readable[share_of(len(readable), self.communicator.rank, self.communicator.size)]
        size = min(EVALUATED, _largest_share(len(readable), self.communicator))
        graph, workspace = run_pipeline("inference", rest.graph, step.workspace.restricted(rest.graph))
        session = Session(graph, workspace, step.model.device, size)
        runs: LaunchedRuns[dict[str, Array], NDArray[np.int64]] = LaunchedRuns(session.runs_ahead)
        read = []
        for start in range(0, len(indices), size):
            some = indices[start : start + size]
            filled = np.resize(some, size)  # the last batch repeats its rows
            read += runs.add(session.start(self.features.gather(filled)), some)
        read += runs.finish()
        best = ((outputs[OUTPUT][: len(some)].argmax(axis=1), some) for outputs, some in read)
        return sum(int(np.sum(found == [label(int(index)) for index in some])) for found, some in best)


def _largest_share(count: int, communicator: Communicator) -> int:
    """How many of so many photos are one process's at most."""
    return -(-count // communicator.size)
