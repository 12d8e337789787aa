"""Training steps taken one after the other; where a device computes by itself, figures come while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.model import OUTPUT
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.parallel.stop import stop_asked
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.step import LABEL, LOSS, RATE


@dataclass(frozen=True)
class StepFigures:
    """Mean loss of a step's batch before the step, and how many of its rows were recognised."""

    loss: float
    correct: int


class Steps:
    """Takes the steps of a training Session.

    On a GPU a step is launched before the figures of the one before are read, so that it never waits for the host; on
    the CPU each step's figures are there when it has been taken. Of several processes each gets the figures of all.
    """

    def __init__(self, session: Session, communicator: Communicator) -> None:
        self._session, self._communicator = session, communicator
        self._stops = False
        self._under_way: LaunchedRuns[dict[str, Array], Array] = LaunchedRuns(session.runs_ahead)

    @property
    def under_way(self) -> int:
        """How many steps were taken whose figures are still to come."""
        return len(self._under_way)

    def take(self, feeds: Mapping[str, Array], rate: float) -> list[StepFigures]:
        """Take a step at a learning rate; return the figures, in the order of steps, for which it need not wait."""
        array = self._session.workspace[RATE]
        array[...] = rate
        self._session.workspace[RATE] = array  # assigned, so that devices take note
        return self._figures(self._under_way.add(self._session.start(feeds), np.array(feeds[LABEL])))

    def stop_if_asked(self) -> None:
        """Raise KeyboardInterrupt if any process was asked to stop: all come to know it with the same figures."""
        if self._stops:
            raise KeyboardInterrupt

    def finish(self) -> list[StepFigures]:
        """Wait for all steps, and return the figures that are still to come."""
        return self._figures(self._under_way.finish())

    def _figures(self, taken: Iterable[tuple[dict[str, Array], Array]]) -> list[StepFigures]:
        every = []
        for outputs, label in taken:
            right = int((outputs[OUTPUT].argmax(axis=1) == label).sum())
            figures = np.array([float(outputs[LOSS]) / self._communicator.size, right, stop_asked()], np.float64)
            self._communicator.allreduce_(figures)
            self._stops |= bool(figures[2])
            every.append(StepFigures(float(figures[0]), int(figures[1])))
        return every
