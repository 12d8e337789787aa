"""Ctrl-C waits for the step that is being taken."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_photos

from edge_sdk.device_memory import HostMemory
from edge_sdk.kernel import Call
from edge_sdk.training.fit import BEST, Interrupted, fit
from edge_sdk.training.interrupts import held_back


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as it does in a program that was started in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_block_is_finished_first() -> None:
    """What comes behind the signal in the block still happens; then the interrupt is raised."""
    done = []

    def interrupted() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("step")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert done == ["step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_presses_twice_does_not_wait() -> None:
    """A step that hangs can still be left."""
    done = []

    def interrupted() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("step")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert done == []


def test_a_handler_of_the_program_stays() -> None:
    """Who handles SIGINT in another way is told at once, and so is every other thread's owner."""
    told = []
    signal.signal(signal.SIGINT, lambda number, frame: told.append(number))

    with held_back():
        signal.raise_signal(signal.SIGINT)
        seen = list(told)

    assert seen == [signal.SIGINT]


def test_other_threads_may_train() -> None:
    """Only the main thread can set handlers; elsewhere the block simply runs."""
    done = []

    def step() -> None:
        with held_back():
            done.append("step")

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()

    assert done == ["step"]


def test_a_signal_in_the_middle_of_a_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the kernels of the fifth step have run when Ctrl-C comes: the resumed run ends with the same bytes."""
    photos = write_photos(tmp_path / "photos", 4)
    settings = {"epochs": 2, "batch_size": 3, "learning_rate": 0.05, "seed": 3}
    fit(tiny_model(), photos, out=tmp_path / "whole", **settings)
    plain, runs = HostMemory.program, count(1)

    def program(self: HostMemory, calls: Sequence[Call]) -> Callable[[], None]:
        halves = [plain(self, calls[: len(calls) // 2]), plain(self, calls[len(calls) // 2 :])]

        def run() -> None:
            halves[0]()
            if len(calls) > 20 and next(runs) == 5:  # validation has less
                signal.raise_signal(signal.SIGINT)
            halves[1]()

        return run

    with monkeypatch.context() as patch:
        patch.setattr(HostMemory, "program", program)
        with pytest.raises(Interrupted) as stop:
            fit(tiny_model(), photos, out=tmp_path / "run", **settings)
    fit(tiny_model(), photos, out=tmp_path / "run", resume=True, **settings)

    assert (stop.value.epoch, stop.value.batch) == (1, 2)
    assert (tmp_path / "run" / BEST).read_bytes() == (tmp_path / "whole" / BEST).read_bytes()
