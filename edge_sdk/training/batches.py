"""What a training run feeds its steps: photos, with a teacher's logits where there is one, or features."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.model import INPUT, Model
from edge_sdk.passes.pixel_input import PIXELS
from edge_sdk.spec import Array
from edge_sdk.training.step import LABEL, TEACHER

if TYPE_CHECKING:
    from edge_sdk.data.loader import Loader, Unreadable
    from edge_sdk.training.features import Features

Feeds = dict[str, Array]


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
    """Rows of features in the order in which `loader` would read their photos, those of its part of each batch.

    Epoch e takes view e mod the views.
    """

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
        number, parts = self.loader.part
        for batch in range(start_batch, self.batches):
            first = (batch * parts + number) * self.batch_size
            positions = np.arange(first, first + self.batch_size) % len(order)
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
