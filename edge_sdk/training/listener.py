"""Who is told how a training run goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_sdk.training.checkpoint import EpochMetrics, Progress

if TYPE_CHECKING:
    from edge_sdk.data.loader import Unreadable


class Listener(Protocol):
    """Is told how a run goes; the command line draws progress bars with it."""

    def on_note(self, message: str) -> None:
        """Something was decided that is worth a line."""

    def on_features(self, done: int, total: int) -> None:
        """So many photos of `total` have gone through the frozen part of the network.

        Of several processes the first one's are counted, and the others' all at once when they are done.
        """

    def on_start(self, epochs: int, batches: int, progress: Progress) -> None:
        """The run starts, or goes on, at `progress`."""

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """A step was taken."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """An epoch was finished and validated."""

    def on_unreadable(self, photo: Unreadable) -> None:
        """A photo could not be read and is left out."""


class Silent:
    """A listener that says nothing."""

    def on_note(self, message: str) -> None:
        """Say nothing."""

    def on_features(self, done: int, total: int) -> None:
        """Say nothing."""

    def on_start(self, epochs: int, batches: int, progress: Progress) -> None:
        """Say nothing."""

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Say nothing."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Say nothing."""

    def on_unreadable(self, photo: Unreadable) -> None:
        """Say nothing."""
