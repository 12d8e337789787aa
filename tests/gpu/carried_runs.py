"""Runs whose outputs say which inputs they had."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import Driver
from edge_sdk.launched_runs import LaunchedRuns
from edge_sdk.spec import Array

RUNS = 12


class Program:
    """A run that gives its inputs as outputs, and its photo once more in the run after it."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.photo, self.kept, self.before = (driver.allocate(600).view(np.float32) for _ in range(3))
        self.label, self.rate, self.read_rate = (driver.allocate(4).view(np.int32) for _ in range(3))
        pairs = [(self.before, self.kept), (self.kept, self.photo), (self.read_rate, self.rate)]
        self.launch = driver.program([Call(driver.copy, pair) for pair in pairs])
        outputs = [self.before, self.kept, self.label, self.read_rate]
        self.transfer = driver.transfer([self.photo, self.label], outputs)

    def start(self, number: int) -> Callable[[], list[Array]]:
        """Start a run on numbers that are changed as soon as the driver gives them back."""
        photo, label, rate = np.full(150, number, np.float32), np.full(1, number, np.int32), np.full(1, 7 * number)
        self.driver.write(self.rate, rate := rate.astype(np.int32))
        self.transfer.send([photo, label])
        for array in (photo, label, rate):
            array[...] = -1
        self.launch()
        return self.transfer.receive()

    def wrong(self, ahead: int) -> list[int]:
        """The runs whose outputs are not theirs; they are asked for when `ahead` more have been started."""
        runs: LaunchedRuns[list[Array], int] = LaunchedRuns(ahead)
        read = [each for number in range(1, RUNS + 1) for each in runs.add(self.start(number), number)]
        return [number for outputs, number in (*read, *runs.finish()) if not right(number, outputs)]


def right(number: int, outputs: list[Array]) -> bool:
    """Whether these are the outputs of run `number`."""
    before, kept, label, rate = outputs
    first = number == 1 or bool((before == number - 1).all())
    return first and bool((kept == number).all()) and label[0] == number and rate[0] == 7 * number
