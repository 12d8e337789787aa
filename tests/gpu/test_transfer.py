"""Inputs and outputs cross while runs go on: whatever CUDA's streams do first, every run reads and gives its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gpu.carried_runs import Program, right
from gpu.fake_cupy import EARLY, LATE, SCHEDULES, Event, Machine, Schedule, fake_cupy

from edge_sdk.kernels.gpu import cuda_driver
from edge_sdk.kernels.gpu.cuda_driver import CudaDriver
from edge_sdk.kernels.gpu.emulated_driver import CHECK_VARIABLE, EmulatedDriver
from edge_sdk.kernels.gpu.transfer import Queue

pytestmark = pytest.mark.emulated  # of streams that are drawn; test_on_a_gpu.py has the real ones


@pytest.fixture
def driver_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Schedule], tuple[CudaDriver, Machine]]:
    """Make the driver for CUDA, on streams that work by a schedule."""

    def make(schedule: Schedule) -> tuple[CudaDriver, Machine]:
        machine = Machine(schedule)
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy(machine))
        monkeypatch.setattr(cuda_driver, "check_compiler", lambda: None)
        return CudaDriver(), machine

    return make


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_run_has_its_own_inputs_and_outputs(driver_on, monkeypatch, schedule: Schedule, ahead: int) -> None:
    """Photos, labels and a small parameter that the host changes at once; pinned memory for it is used again."""
    monkeypatch.setattr(cuda_driver, "SMALL_WRITES", 3 * cuda_driver.ALIGNMENT)

    driver, _ = driver_on(schedule)

    assert Program(driver).wrong(ahead) == []


def test_the_emulated_device_has_the_same_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same runs on the driver that other tests here use; the first of them gives what nobody has written."""
    monkeypatch.delenv(CHECK_VARIABLE)

    assert Program(EmulatedDriver()).wrong(ahead=1) == []


class _NotWaitedFor(Event):
    """A point that streams wait for and the host does not."""

    def synchronize(self) -> None:
        pass


@pytest.mark.parametrize("queue", list(Queue))
@pytest.mark.parametrize("who", ["the other queue", "the host"])
def test_a_wait_that_is_left_out_shows(driver_on, monkeypatch, who: str, queue: Queue) -> None:
    """Each of the four waits is needed: without it some schedule gives a run what is not its own."""
    wrong = []
    for schedule in SCHEDULES:
        driver, _ = driver_on(schedule)
        waits, records = driver.let_wait, driver.record

        def let_wait(waiting: Queue, event: Event, waits: Any = waits) -> None:
            if who == "the host" or waiting is queue:
                waits(waiting, event)

        def record(recorded: Queue, records: Any = records) -> Event:
            event = records(recorded)
            if who == "the host" and recorded is queue:
                unnoticed = _NotWaitedFor()
                unnoticed.stream, unnoticed.position = event.stream, event.position
                return unnoticed
            return event

        monkeypatch.setattr(driver, "let_wait", let_wait)
        monkeypatch.setattr(driver, "record", record)
        wrong += Program(driver).wrong(ahead=3)

    assert wrong


def test_memory_that_is_used_again_is_not_filled_too_early(driver_on, monkeypatch) -> None:
    """A transfer may get memory that launches still read which somebody made before; its first copy waits for them."""
    driver, _ = driver_on((False, True))  # copies happen at once, launches late
    memory, kept, photo = (driver.allocate(512) for _ in range(3))
    driver.write(memory, np.full(512, 7, np.uint8))
    driver.copy(kept, memory)
    monkeypatch.setattr(driver, "allocate", lambda size: memory)

    transfer = driver.transfer([photo], [])
    transfer.send([np.full(512, 9, np.uint8)])

    assert driver.read(kept).tolist() == [7] * 512
    assert driver.read(photo).tolist() == [9] * 512


def test_a_run_is_launched_while_the_one_before_has_not_begun(driver_on) -> None:
    """Nothing that starts a run waits for the last one: where all work happens late, two runs are still to be done."""
    driver, machine = driver_on(LATE)
    program = Program(driver)
    computing = machine.streams[driver._stream.ptr]
    program.start(1)()
    program.start(2)()

    done = computing.done
    third = program.start(3)
    fourth = program.start(4)

    assert computing.done == done
    assert [right(number, outputs()) for number, outputs in ((3, third), (4, fourth))] == [True, True]


def test_outputs_that_nobody_asked_for_are_kept(driver_on) -> None:
    """A third run needs the place of the first one's outputs, which are then still there for who asks late."""
    driver, _ = driver_on(LATE)
    program = Program(driver)

    outputs = [program.start(number) for number in (1, 2, 3, 4)]

    assert [right(number, each()) for number, each in zip((4, 3, 2, 1), reversed(outputs), strict=True)] == [True] * 4


def test_what_the_pool_holds_unused_is_free(driver_on) -> None:
    """CuPy gives back what it keeps; what it hands out are multiples of its unit."""
    driver, _ = driver_on(EARLY)

    assert driver.free_bytes() == (60 << 30) + (1 << 30)
    assert [driver.taken(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]
